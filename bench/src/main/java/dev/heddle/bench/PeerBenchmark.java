// Heddle beside libtorch, interleaved in one run.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * {@code PeerBenchmark [rounds [seconds [result.json]]]}: each side in a process of its own; both first prove that they compute
 * the same losses over 20 steps, then train in turns. A pair of turns during which other processes used more than 5% of
 * a core is run again. {@code HEDDLE_PEER_PRELOAD} (paths for {@code LD_PRELOAD}) gives libtorch another BLAS, such as MKL.
 */
public final class PeerBenchmark {
    private static final int CHECKED_STEPS = 20;
    private static final int MAX_REPEATS = 10;
    /** Of both sides: what they compute with lies outside, and an unbounded heap would count garbage as memory needed. */
    private static final String HEAP = "-Xmx128m";

    private PeerBenchmark() {}

    /** Arguments: rounds, seconds a round, file for the report, workloads separated by commas (all). */
    public static void main(String[] arguments) throws IOException {
        int rounds = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 7;
        double seconds = arguments.length > 1 ? Double.parseDouble(arguments[1]) : 3;
        ObjectMapper json = new ObjectMapper();
        ObjectNode report = json.createObjectNode();
        report.put("date", java.time.LocalDate.now().toString()).put("processors", Runtime.getRuntime().availableProcessors())
                .put("cpu", cpuModel()).put("java", Runtime.version().toString())
                .put("java_options", System.getenv().getOrDefault("JDK_JAVA_OPTIONS", "")).put("rounds", rounds).put("seconds", seconds)
                .put("peer", "libtorch 2.10.0 (bytedeco 1.5.13), " + (preload() == null ? "its own OpenBLAS" : "preloaded " + preloadNames()));
        List<Workload> workloads = arguments.length < 4 ? List.of(Workload.values())
                : Arrays.stream(arguments[3].split(",")).map(name -> Workload.valueOf(name.toUpperCase(Locale.ROOT))).toList();
        for (Workload workload : workloads) {
            report.set(workload.name().toLowerCase(Locale.ROOT), compare(workload, rounds, seconds, json));
        }
        String text = json.writerWithDefaultPrettyPrinter().writeValueAsString(report);
        System.out.println(text);
        if (arguments.length > 2) {
            Files.writeString(Path.of(arguments[2]), text + "\n");
        }
    }

    private static ObjectNode compare(Workload workload, int rounds, double seconds, ObjectMapper json) throws IOException {
        try (Worker heddle = new Worker("heddle", workload); Worker peer = new Worker("libtorch", workload)) {
            double[] ours = losses(heddle.ask("check " + CHECKED_STEPS));
            double[] theirs = losses(peer.ask("check " + CHECKED_STEPS));
            double tolerance = workload != Workload.MLP ? 5e-3 : 1e-3; // Adam's first steps magnify rounding
            for (int i = 0; i < CHECKED_STEPS; i++) {
                if (!(Math.abs(ours[i] - theirs[i]) <= tolerance * Math.max(0.1, Math.abs(theirs[i])))) {
                    throw new IllegalStateException(workload + ": losses differ in step " + i + ": " + ours[i] + " and " + theirs[i]);
                }
            }
            heddle.ask("run " + 3 * seconds); // warm-up
            peer.ask("run " + 3 * seconds);
            double[] a = new double[rounds];
            double[] b = new double[rounds];
            int disturbed = 0;
            for (int i = 0; i < rounds; i++) {
                long busy = busyTicks();
                long own = heddle.ticks() + peer.ticks();
                a[i] = Double.parseDouble(heddle.ask("run " + seconds));
                b[i] = Double.parseDouble(peer.ask("run " + seconds));
                long others = busyTicks() - busy - (heddle.ticks() + peer.ticks() - own);
                if (others > 0.05 * 100 * 2 * seconds && disturbed < MAX_REPEATS) {
                    disturbed++;
                    i--;
                }
            }
            double[] ratios = new double[rounds];
            Arrays.setAll(ratios, i -> a[i] / b[i]);
            ObjectNode result = json.createObjectNode();
            result.put("batch", workload.batch);
            put(result, "heddle_samples_per_second", a, workload.samples());
            put(result, "libtorch_samples_per_second", b, workload.samples());
            put(result, "ratio", ratios, 1);
            result.put("heddle_peak_bytes", Long.parseLong(heddle.ask("memory"))).put("libtorch_peak_bytes", Long.parseLong(peer.ask("memory")));
            result.put("disturbed_rounds_repeated", disturbed).put("loss_after_" + CHECKED_STEPS + "_steps", ours[CHECKED_STEPS - 1]);
            return result;
        }
    }

    private static void put(ObjectNode result, String name, double[] values, double scale) {
        double[] sorted = Arrays.stream(values).map(v -> v * scale).sorted().toArray();
        result.putObject(name).put("median", sorted[sorted.length / 2]).put("min", sorted[0]).put("max", sorted[sorted.length - 1]);
    }

    private static double[] losses(String line) {
        return Arrays.stream(line.split(" ")).mapToDouble(Double::parseDouble).toArray();
    }

    private static String preload() {
        String paths = System.getenv("HEDDLE_PEER_PRELOAD");
        return paths == null || paths.isBlank() ? null : paths;
    }

    private static String preloadNames() {
        return String.join(" and ", Stream.of(preload().split(":")).map(p -> Path.of(p).getFileName().toString()).toList());
    }

    private static String cpuModel() throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(l -> l.startsWith("model name")).findFirst().map(l -> l.substring(l.indexOf(':') + 2)).orElse("unknown");
        }
    }

    /** Ticks (10 ms) all processes have computed. */
    private static long busyTicks() throws IOException {
        String[] fields = Files.readAllLines(Path.of("/proc/stat")).getFirst().trim().split(" +");
        return Stream.of(1, 2, 3, 6, 7).mapToLong(i -> Long.parseLong(fields[i])).sum();
    }

    /** A worker process and the two ends of its pipe. */
    private static final class Worker implements AutoCloseable {
        private final Process process;
        private final PrintStream commands;
        private final BufferedReader answers;

        Worker(String side, Workload workload) throws IOException {
            List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java", HEAP, "--add-modules", "jdk.incubator.vector",
                    "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path"), PeerWorker.class.getName(), side,
                    workload.name()));
            ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.to(new File("/dev/null")));
            if (side.equals("libtorch")) {
                Map<String, String> environment = builder.environment();
                if (preload() != null) {
                    environment.put("LD_PRELOAD", preload());
                    environment.put("MKL_THREADING_LAYER", "GNU");
                } else { // its OpenBLAS and OpenMP pools must not spin against each other
                    environment.put("OMP_WAIT_POLICY", "passive");
                    environment.put("OPENBLAS_THREAD_TIMEOUT", "4");
                }
            }
            process = builder.start();
            commands = new PrintStream(process.getOutputStream(), true);
            answers = process.inputReader();
            if (!"ready".equals(answers.readLine())) {
                throw new IOException(side + " did not start");
            }
        }

        String ask(String command) throws IOException {
            commands.println(command);
            String answer = answers.readLine();
            if (answer == null) {
                throw new IOException("the worker ended at '" + command + "'");
            }
            return answer;
        }

        long ticks() throws IOException {
            String stat = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
        }

        @Override
        public void close() {
            commands.close(); // at the end of its input it ends
            process.onExit().completeOnTimeout(process, 10, java.util.concurrent.TimeUnit.SECONDS).join().destroyForcibly();
        }
    }
}
