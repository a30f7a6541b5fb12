// heddle bench scaling
package dev.heddle.bench.scaling;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.Results;
import dev.heddle.engine.Device;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Varies one size of a network at a time; each point is measured in a JVM of its own. */
@Command(name = "scaling", mixinStandardHelpOptions = true, description = {"How time and memory of a training step grow with batch, width, depth and sequence length; the time to the"
        + " first step; the cost of a new shape.", "About 4 minutes; JSON for heddle bench report with --json."})
public final class ScalingCommand implements Callable<Integer> {
    /** What is varied. */
    private record Series(Sizes base, String axis, int... values) {}

    private static final Sizes MLP = new Sizes("mlp", 128, 512, 4, 1);
    private static final Sizes GPT = new Sizes("gpt", 4, 128, 4, 128);
    private static final List<Series> FULL = List.of(
            new Series(MLP, "batch", 32, 64, 128, 256, 512, 1024),
            new Series(MLP, "width", 128, 256, 512, 1024, 2048),
            new Series(MLP, "depth", 2, 4, 8, 16, 32),
            new Series(GPT, "batch", 1, 2, 4, 8, 16, 32),
            new Series(GPT, "width", 64, 128, 256, 512),
            new Series(GPT, "depth", 1, 2, 4, 8, 16),
            new Series(GPT, "length", 32, 64, 128, 256, 512, 1024));
    private static final List<Series> QUICK = List.of(
            new Series(new Sizes("mlp", 32, 64, 2, 1), "batch", 32, 64),
            new Series(new Sizes("gpt", 1, 64, 1, 32), "length", 16, 64));
    private static final int STARTS = 3;
    private static final int MISSES = 15;
    private static final double MB = 1e6;

    @Option(names = "--device", description = "cpu, cuda, cuda:N or auto.")
    private String device;

    @Option(names = "--json", paramLabel = "FILE", description = "Write the results to this file.")
    private Path json;

    @Option(names = "--quick", description = "Few small sizes, in seconds: shows that it works, and measures little.")
    private boolean quick;

    @Override
    public Integer call() throws IOException {
        if (device != null) {
            Device.use(Device.parse(device));
        }
        ObjectNode report = Results.begin("scaling");
        report.put("quick", quick);
        ArrayNode all = report.putArray("series");
        List<Series> series = quick ? QUICK : FULL;
        for (Series one : series) {
            measure(one, all.addObject());
        }
        System.out.printf("%nfrom the start of a process%14s%14s%14s%n", "JVM, ms", "first step", "second step");
        for (Sizes sizes : bases(series)) {
            startup(sizes, report.withObject("/startup").putObject(sizes.model()));
        }
        System.out.printf("%na step of a batch size%18s%14s%14s%n", "known, ms", "new, ms", "plan, ms");
        for (Sizes sizes : bases(series)) {
            miss(sizes, report.withObject("/plan_cache_miss").putObject(sizes.model()));
        }
        if (json != null) {
            Results.write(json, report);
        }
        return 0;
    }

    private static List<Sizes> bases(List<Series> series) {
        return series.stream().map(Series::base).distinct().toList();
    }

    private void measure(Series series, ObjectNode result) throws IOException {
        Sizes base = series.base;
        System.out.printf("%n%s: batch %d, width %d, depth %d%s%n%8s%14s%14s%n", base.model(), base.batch(), base.width(), base.depth(),
                base.model().equals("gpt") ? ", length " + base.length() : "", series.axis, "ms a step", "peak MB");
        result.put("model", base.model()).put("axis", series.axis);
        result.putObject("base").put("batch", base.batch()).put("width", base.width()).put("depth", base.depth()).put("length", base.length());
        ArrayNode points = result.putArray("points");
        double[] ms = new double[series.values.length];
        double[] bytes = new double[series.values.length];
        for (int i = 0; i < series.values.length; i++) {
            int value = series.values[i];
            String[] answer = worker(base.with(series.axis, value), "step", quick ? "0.1" : "1.25").getFirst().text.split(" ");
            ms[i] = Double.parseDouble(answer[0]);
            bytes[i] = Long.parseLong(answer[2]);
            points.addObject().put("value", value).put("ms", ms[i]).put("ms_min", Double.parseDouble(answer[1])).put("peak_bytes", (long) bytes[i]);
            System.out.printf("%8d%14.3f%14.1f%n", value, ms[i], bytes[i] / MB);
        }
        double[] x = Arrays.stream(series.values).asDoubleStream().toArray();
        result.put("slope_time", Slope.of(x, ms)).put("slope_memory", Slope.of(x, bytes));
        System.out.printf("%8s%14.2f%14.2f%n", "slope", Slope.of(x, ms), Slope.of(x, bytes));
    }

    private void startup(Sizes sizes, ObjectNode result) throws IOException {
        List<List<Double>> times = List.of(new ArrayList<>(), new ArrayList<>(), new ArrayList<>()); // JVM, first, second
        for (int i = 0; i < (quick ? 1 : STARTS); i++) {
            List<Line> lines = worker(sizes, "startup");
            times.get(0).add(lines.get(0).ms);
            times.get(1).add(lines.get(1).ms);
            times.get(2).add(lines.get(2).ms - lines.get(1).ms);
        }
        double[] medians = times.stream().mapToDouble(ScalingWorker::median).toArray();
        result.put("jvm_ms", medians[0]).put("first_step_ms", medians[1]).put("second_step_takes_ms", medians[2]);
        System.out.printf("%-27s%14.0f%14.0f%+14.1f%n", sizes.model(), medians[0], medians[1], medians[2]);
    }

    private void miss(Sizes sizes, ObjectNode result) throws IOException {
        String[] answer = worker(sizes, "miss", Integer.toString(quick ? 3 : MISSES)).getFirst().text.split(" ");
        double hit = Double.parseDouble(answer[0]);
        double miss = Double.parseDouble(answer[1]);
        result.put("hit_ms", hit).put("miss_ms", miss).put("plan_ms", miss - hit);
        System.out.printf("%-23s%18.2f%14.2f%14.2f%n", sizes.model(), hit, miss, miss - hit);
    }

    /** A line that a worker printed, and when, in milliseconds since it was started. */
    private record Line(double ms, String text) {}

    /** Runs a worker to its end. */
    private static List<Line> worker(Sizes sizes, String... what) throws IOException {
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java", "--add-modules", "jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED", "-Dheddle.device=" + Device.current(), "-cp", System.getProperty("java.class.path"),
                ScalingWorker.class.getName()));
        command.addAll(List.of(what));
        command.addAll(sizes.arguments());
        Path errors = Files.createTempFile("heddle-scaling", ".log");
        try {
            long start = System.nanoTime();
            Process process = new ProcessBuilder(command).redirectError(errors.toFile()).start();
            List<Line> lines = new ArrayList<>();
            try (BufferedReader reader = process.inputReader()) {
                for (String line; (line = reader.readLine()) != null;) {
                    lines.add(new Line((System.nanoTime() - start) / 1e6, line));
                }
                int status = process.waitFor();
                if (status != 0 || lines.isEmpty()) {
                    throw new IOException("scaling: the process that measures " + sizes + " ended with status " + status + ":\n" + Files.readString(errors).strip());
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IOException("scaling: interrupted", e);
            } finally {
                process.destroyForcibly();
            }
            return lines;
        } finally {
            Files.delete(errors);
        }
    }
}
