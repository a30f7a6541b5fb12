// Kernels checked, timed, and set beside the ceilings of the machine, measured in the same run.
package dev.heddle.bench.kernel;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.Results;
import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * Runs {@link KernelCase cases}: each is checked, then timed in batches of about 50 ms on several sets of random inputs in turn, which
 * together with the outputs exceed the last cache four times where memory is the limit. A row has the median, the fastest and the slowest batch, bytes that
 * must move and operations a second, and the part of the ceiling that binds the case: the copy bandwidth or the speed of a large product of
 * its dtype, whichever allows less. On a GPU, times are those between two events on its stream.
 */
public final class KernelBench {
    private static final int BATCHES = 9;
    private static final int MOST_SETS = 32;
    private static final double BATCH_SECONDS = 0.05;
    private static final double WARM_SECONDS = 0.3;

    private final Device device;
    private boolean quick;
    private PrintStream out = System.out;
    private Path file;
    private KernelPeer peer;

    /** A bench of kernels on a device. */
    public KernelBench(Device device) {
        this.device = device;
    }

    /** Only sees that everything runs: few and short batches, ceilings of small sizes. */
    public KernelBench quick(boolean quick) {
        this.quick = quick;
        return this;
    }

    /** Where the table goes; standard output unless said otherwise. */
    public KernelBench print(PrintStream out) {
        this.out = out;
        return this;
    }

    /** Writes the results to a file, after each case what there is so far; null writes none. */
    public KernelBench save(Path file) {
        this.file = file;
        return this;
    }

    /** Times each case in libtorch too, in turns. */
    KernelBench beside(KernelPeer peer) {
        this.peer = peer;
        return this;
    }

    /**
     * Runs the cases. One that fails, by an exception or because its results are wrong, is reported and does not stop the others.
     *
     * @return {@code machine}, {@code ceilings}, and of each case in {@code cases} {@code us, us_min, us_max, host_us, bytes, flops, gb_per_s, gflop_per_s,
     *     percent_of_ceiling, ceiling, error}, or {@code failure}
     * @throws IllegalArgumentException if two cases have one name
     * @throws IOException if the file cannot be written
     */
    public ObjectNode run(List<KernelCase> cases) throws IOException {
        Set<String> names = new HashSet<>();
        for (KernelCase kernel : cases) {
            if (!names.add(kernel.name())) {
                throw new IllegalArgumentException("kernel bench: there are two cases '" + kernel.name() + "'");
            }
        }
        ObjectNode[] results = new ObjectNode[1];
        try {
            Device.with(device, () -> results[0] = measure(cases));
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
        return results[0];
    }

    /** Whether a case of these results failed. */
    static boolean failed(ObjectNode results) {
        return !results.get("cases").findValues("failure").isEmpty();
    }

    private ObjectNode measure(List<KernelCase> cases) {
        ObjectNode results = Results.begin("kernels");
        if (peer != null) {
            results.putObject("peers").put("libtorch", peer.setting());
        }
        Ceilings ceilings = new Ceilings(device, quick);
        ObjectNode limits = results.putObject("ceilings");
        ObjectNode rows = results.putObject("cases");
        say("%-40s %10s %21s %8s %9s %s%s", "case on " + device, "us", "fastest - slowest", "GB/s", "GFLOP/s", "of ceiling", peer == null ? "" : "   libtorch us  ratio");
        for (KernelCase kernel : cases) {
            ObjectNode row = rows.putObject(kernel.name());
            try {
                row(kernel, ceilings, row);
                print(kernel.name(), row);
            } catch (RuntimeException | OutOfMemoryError e) {
                row.put("failure", e.toString());
                say("%-40s FAILED: %s", kernel.name(), e);
            }
            putCeilings(ceilings, limits);
            save(results);
        }
        say("ceilings: copy %.1f GB/s, by ordinary stores %.1f%s", ceilings.copy(), ceilings.ordinaryCopy(), String.join("", ceilings.matmuls().entrySet().stream()
                .map(m -> String.format(Locale.ROOT, ", product %s %.0f GFLOP/s", m.getKey(), m.getValue())).toList()));
        return results;
    }

    private static void putCeilings(Ceilings ceilings, ObjectNode node) {
        node.put("copy_gb_per_s", ceilings.copy()).put("ordinary_copy_gb_per_s", ceilings.ordinaryCopy());
        for (Map.Entry<DType, Double> entry : ceilings.matmuls().entrySet()) {
            String dtype = entry.getKey() == DType.F32 ? "" : entry.getKey().name().toLowerCase(Locale.ROOT) + "_";
            node.put("matmul_" + dtype + "gflop_per_s", entry.getValue());
        }
    }

    private void row(KernelCase kernel, Ceilings ceilings, ObjectNode row) {
        List<List<Tensor>> sets = new ArrayList<>();
        try {
            sets.add(kernel.inputs().apply(1));
            List<Tensor> first = sets.getFirst();
            List<Tensor> outputs = kernel.run(first);
            double error = KernelCheck.error(kernel, first, outputs);
            double bytes = kernel.bytes(first, outputs);
            row.put("error", error).put("bytes", bytes).put("flops", kernel.flops());
            String digest = peer == null ? null : KernelPeer.digest(outputs.getFirst().toDoubleArray());
            outputs.forEach(Tensor::close);
            if (!(error <= kernel.tolerance(first))) {
                throw new IllegalStateException("wrong result: relative error " + error + ", tolerance " + kernel.tolerance(first));
            }
            double copyUs = bytes / ceilings.copy() / 1e3;
            double matmulUs = kernel.flops() == 0 ? 0 : kernel.flops() / ceilings.matmul(kernel.dtype(first)) / 1e3;
            boolean copy = copyUs >= matmulUs;
            int count = quick || !copy ? 3 : (int) Math.clamp(Math.ceil(4 * Ceilings.lastLevelCache(device) / bytes), 2, MOST_SETS);
            while (sets.size() < count) {
                sets.add(kernel.inputs().apply(1 + sets.size()));
            }
            time(kernel, sets, digest, row);
            double us = row.get("us").asDouble();
            row.put("gb_per_s", bytes / us / 1e3).put("gflop_per_s", kernel.flops() / us / 1e3)
                    .put("percent_of_ceiling", 100 * Math.max(copyUs, matmulUs) / us).put("ceiling", copy ? "copy" : "matmul");
        } finally {
            sets.forEach(set -> set.forEach(Tensor::close));
        }
    }

    private void time(KernelCase kernel, List<List<Tensor>> sets, String digest, ObjectNode row) {
        Rounds ours = new Rounds(kernel, sets);
        boolean beside = peer != null && peer.prepare(kernel.name(), sets.size(), digest, kernel.tolerance(sets.getFirst()));
        long end = System.nanoTime() + (quick ? 0 : (long) (WARM_SECONDS * 1e9));
        do { // compiles, captures, replays; lets the JIT finish
            ours.run(2 * sets.size());
        } while (System.nanoTime() < end);
        Stopwatch watch = new Stopwatch(device);
        double once = watch.seconds(() -> ours.run(sets.size())) / sets.size();
        int runs = (int) Math.clamp(Math.ceil((quick ? 0 : BATCH_SECONDS) / once), 1, 2000);
        int batches = quick ? 3 : BATCHES;
        double[] us = new double[batches];
        double[] host = new double[batches];
        double[] theirs = new double[batches];
        for (int i = 0; i < batches; i++) {
            int batch = i;
            ours.run(1); // wakes the threads
            us[i] = 1e6 / runs * watch.seconds(() -> {
                long start = System.nanoTime();
                ours.run(runs);
                host[batch] = (System.nanoTime() - start) / 1e3 / runs;
            });
            theirs[i] = beside ? peer.batch() : 0;
        }
        ours.close();
        Arrays.sort(us);
        row.put("us", median(us)).put("us_min", us[0]).put("us_max", us[batches - 1]).put("host_us", median(host)).put("runs", runs * batches);
        if (beside) {
            row.put("libtorch_us", median(theirs)).put("ratio", median(theirs) / median(us)).put("libtorch_layout", peer.layout());
        }
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private void print(String name, ObjectNode row) {
        say("%-40s %10.1f %10.1f - %8.1f %8.1f %9.1f %4.0f%% %-6s%s", name, row.get("us").asDouble(), row.get("us_min").asDouble(), row.get("us_max").asDouble(),
                row.get("gb_per_s").asDouble(), row.get("gflop_per_s").asDouble(), row.get("percent_of_ceiling").asDouble(), row.get("ceiling").asText(),
                row.has("ratio") ? String.format(Locale.ROOT, " %10.1f %6.2f %s", row.get("libtorch_us").asDouble(), row.get("ratio").asDouble(),
                        row.get("libtorch_layout").asText()) : "");
    }

    private void say(String format, Object... arguments) {
        out.println(String.format(Locale.ROOT, format, arguments).stripTrailing());
    }

    private void save(ObjectNode results) {
        if (file != null) {
            try {
                Results.write(file, results);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    /** Runs a case on its sets in turn; outputs are kept until their set's next turn, so that they too are not always in the same place. */
    private static final class Rounds implements AutoCloseable {
        private final KernelCase kernel;
        private final List<List<Tensor>> inputs;
        private final List<List<Tensor>> outputs = new ArrayList<>();
        private int next;

        Rounds(KernelCase kernel, List<List<Tensor>> inputs) {
            this.kernel = kernel;
            this.inputs = inputs;
            inputs.forEach(set -> outputs.add(List.of()));
        }

        void run(int times) {
            for (int i = 0; i < times; i++) {
                outputs.get(next).forEach(Tensor::close);
                outputs.set(next, kernel.run(inputs.get(next)));
                next = (next + 1) % inputs.size();
            }
        }

        @Override
        public void close() {
            outputs.forEach(set -> set.forEach(Tensor::close));
        }
    }
}
