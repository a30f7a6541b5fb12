// heddle bench scaling
package dev.heddle.bench.scaling;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.ChildJvm;
import dev.heddle.bench.Results;
import dev.heddle.engine.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Varies one size of a network at a time. */
@Command(name = "scaling", mixinStandardHelpOptions = true, description = {"How time and memory of a training step grow with batch, width, depth and sequence length; the time to the"
        + " first step; the cost of a new shape.", "About 6 minutes; JSON for heddle bench report with --json."})
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
    private static final int ROUNDS = 3;
    private static final int STARTS = 3;
    private static final int MISSES = 15;
    private static final double MB = 1e6;

    @Option(names = "--device", paramLabel = "NAME", description = "cpu, cuda, cuda:N or auto; default: what -Dheddle.device says, or cpu.")
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
        System.out.printf("%n%s: batch %d, width %d, depth %d%s%n%8s%14s%24s%14s%n", base.model(), base.batch(), base.width(), base.depth(),
                base.model().equals("gpt") ? ", length " + base.length() : "", series.axis, "ms a step", "quartiles", "peak MB");
        result.put("model", base.model()).put("axis", series.axis);
        result.putObject("base").put("batch", base.batch()).put("width", base.width()).put("depth", base.depth()).put("length", base.length());
        ArrayNode points = result.putArray("points");
        for (int value : series.values) {
            points.addObject().put("value", value).put("peak_bytes", peakBytes(base.with(series.axis, value)));
        }
        steps(series, points);
        for (JsonNode point : points) {
            System.out.printf("%8d%14.3f%24s%14.1f%s%n", point.get("value").asInt(), point.get("ms").asDouble(),
                    "%.3f - %.3f".formatted(point.get("ms_q1").asDouble(), point.get("ms_q3").asDouble()), point.get("peak_bytes").asDouble() / MB,
                    point.get("settled").asBoolean() ? "" : "  did not settle");
        }
        double[] x = Arrays.stream(series.values).asDoubleStream().toArray();
        double time = Slope.of(x, points.valueStream().mapToDouble(point -> point.get("ms").asDouble()).toArray());
        double memory = Slope.of(x, points.valueStream().mapToDouble(point -> point.get("peak_bytes").asDouble()).toArray());
        result.put("slope_time", time).put("slope_memory", memory);
        System.out.printf("%8s%14.2f%24s%14.2f%n", "slope", time, "", memory);
    }

    private static long peakBytes(Sizes sizes) throws IOException {
        try (ChildJvm worker = worker(sizes)) {
            for (int i = 0; i < 3; i++) {
                worker.ask("step");
            }
            return Long.parseLong(worker.ask("memory"));
        }
    }

    /** All points in one JVM: first each until it settles, so that the JIT is done with all of them, then in turns. */
    private void steps(Series series, ArrayNode points) throws IOException {
        try (ChildJvm worker = worker(series.base)) {
            List<List<Double>> times = new ArrayList<>();
            for (int value : series.values) {
                String[] answer = worker.ask("warm " + series.axis + " " + value + (quick ? " 0.05 0.1 0.3" : " 0.5 1.5 15")).split(" ");
                result(points, times.size()).put("settled", Boolean.parseBoolean(answer[0])).put("warm_up_s", Double.parseDouble(answer[1]));
                times.add(new ArrayList<>());
            }
            for (int i = 0; i < ROUNDS * times.size(); i++) {
                int point = i % times.size();
                String answer = worker.ask("time " + series.axis + " " + series.values[point] + (quick ? " 0.05" : " 0.5"));
                Arrays.stream(answer.split(" ")).map(Double::valueOf).forEach(times.get(point)::add);
            }
            for (int point = 0; point < times.size(); point++) {
                List<Double> ms = times.get(point);
                result(points, point).put("ms", ScalingWorker.median(ms)).put("ms_q1", ScalingWorker.quantile(ms, 0.25))
                        .put("ms_q3", ScalingWorker.quantile(ms, 0.75)).put("ms_min", Collections.min(ms)).put("ms_max", Collections.max(ms));
            }
        }
    }

    private static ObjectNode result(ArrayNode points, int i) {
        return (ObjectNode) points.get(i);
    }

    private void startup(Sizes sizes, ObjectNode result) throws IOException {
        List<List<Double>> times = List.of(new ArrayList<>(), new ArrayList<>(), new ArrayList<>()); // JVM, first, second
        for (int i = 0; i < (quick ? 1 : STARTS); i++) {
            long start = System.nanoTime();
            try (ChildJvm worker = worker(sizes)) {
                times.get(0).add((System.nanoTime() - start) / 1e6);
                worker.ask("step");
                times.get(1).add((System.nanoTime() - start) / 1e6);
                times.get(2).add(Double.parseDouble(worker.ask("step")));
            }
        }
        double[] medians = times.stream().mapToDouble(ScalingWorker::median).toArray();
        result.put("jvm_ms", medians[0]).put("first_step_ms", medians[1]).put("second_step_takes_ms", medians[2]);
        System.out.printf("%-27s%14.0f%14.0f%+14.1f%n", sizes.model(), medians[0], medians[1], medians[2]);
    }

    private void miss(Sizes sizes, ObjectNode result) throws IOException {
        try (ChildJvm worker = worker(sizes)) {
            String[] answer = worker.ask("miss " + (quick ? 3 : MISSES)).split(" ");
            double hit = Double.parseDouble(answer[0]);
            double miss = Double.parseDouble(answer[1]);
            result.put("hit_ms", hit).put("miss_ms", miss).put("plan_ms", miss - hit);
            System.out.printf("%-23s%18.2f%14.2f%14.2f%n", sizes.model(), hit, miss, miss - hit);
        }
    }

    private static ChildJvm worker(Sizes sizes) throws IOException {
        return new ChildJvm("scaling: " + sizes, ScalingWorker.class, List.of("-Dheddle.device=" + Device.current()), Map.of(), sizes.arguments());
    }
}
