// Kernels checked and timed in this process, beside the ceilings of the machine.
package dev.heddle.bench.kernel;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.Results;
import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Runs {@link KernelCase cases} in this process: each is checked, then timed in batches of about 50 ms on several sets of random inputs in
 * turn, which together with the outputs exceed the last cache four times where memory is the limit; there each batch is followed by ordinary
 * copies of as many bytes. On the CPU a batch consists of slices of 5 ms with a {@linkplain CoreProbe look at the cores} behind each: of all
 * batches of a case, taken until enough had whole cores or five seconds were over, those count whose cores were the least disturbed.
 * {@link KernelTable} says what becomes of them. On a GPU, times are those between two events on its stream.
 */
public final class KernelBench {
    private static final int BATCHES = 9;
    private static final int FORK_BATCHES = 5;
    private static final int MOST_SETS = 32;
    private static final double BATCH_SECONDS = 0.05;
    private static final double SLICE_SECONDS = 0.005;
    private static final double WARM_SECONDS = 2.0;
    private static final double PATIENCE_SECONDS = 5.0;
    private static final double WHOLE = 1.05; // a slowdown that does not matter

    private final Device device;
    private final Stopwatch stopwatch;
    private boolean quick;
    private int forks = 1;
    private PrintStream out = System.out;
    private Path file;
    private KernelPeer peer;

    /** A bench of kernels on a device. */
    public KernelBench(Device device) {
        this.device = device;
        stopwatch = new Stopwatch(device);
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

    /** This is one of several processes that measure the same: fewer batches each, and digests to compare what they compute. */
    KernelBench forks(int forks) {
        this.forks = forks;
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
     * @return {@code machine}, {@code ceilings}, and of each case in {@code cases} what {@link KernelTable} puts there
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
        KernelTable table = new KernelTable(out, file, 1);
        try {
            Device.with(device, () -> measure(cases, table));
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
        return table.end();
    }

    private void measure(List<KernelCase> cases, KernelTable table) {
        try (Ceilings ceilings = new Ceilings(device, quick)) {
            table.begin(begin());
            for (KernelCase kernel : cases) {
                table.add(kernel.name(), measure(kernel, ceilings, null));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What the results begin with. */
    ObjectNode begin() {
        ObjectNode results = Results.begin("kernels");
        if (peer != null) {
            results.putObject("peers").put("libtorch", peer.setting());
        }
        return results;
    }

    /**
     * Checks and times a case.
     *
     * @param known what another process got that was checked; null to check against the reference, which takes longer
     * @return {@code error} (if checked), {@code bytes, flops, dtype, digest, runs, batches} (how many were taken), of each that counts in arrays
     *     {@code us, host_us, slowdown} and where memory is the limit {@code ordinary_copy_gb_per_s}, with a peer {@code libtorch_us} and {@code libtorch_layout}, {@code ceilings};
     *     or {@code failure}
     */
    ObjectNode measure(KernelCase kernel, Ceilings ceilings, Digest known) {
        ObjectNode row = new ObjectMapper().createObjectNode();
        try {
            row(kernel, ceilings, known, row);
        } catch (RuntimeException | OutOfMemoryError e) {
            row.put("failure", e.toString());
        }
        ObjectNode limits = row.putObject("ceilings").put("copy_gb_per_s", ceilings.copy()).put("ordinary_copy_gb_per_s", ceilings.ordinaryCopy());
        ceilings.matmuls().forEach((dtype, speed) -> limits.put(KernelTable.matmul(dtype), speed));
        return row;
    }

    private void row(KernelCase kernel, Ceilings ceilings, Digest known, ObjectNode row) {
        List<List<Tensor>> sets = new ArrayList<>();
        try {
            sets.add(kernel.inputs().apply(1));
            List<Tensor> first = sets.getFirst();
            List<Tensor> outputs = kernel.run(first);
            double bytes = kernel.bytes(first, outputs);
            Digest digest = forks == 1 && peer == null ? null : Digest.of(outputs.getFirst().toDoubleArray());
            double tolerance = kernel.tolerance(first);
            row.put("bytes", bytes).put("flops", kernel.flops()).put("dtype", kernel.dtype(first).name()).put("digest", String.valueOf(digest));
            if (known == null) {
                double error = KernelCheck.error(kernel, first, outputs);
                row.put("error", error);
                if (!(error <= tolerance)) {
                    throw new IllegalStateException("wrong result: relative error " + error + ", tolerance " + tolerance);
                }
            } else if (!known.agrees(digest, tolerance)) {
                throw new IllegalStateException("wrong result: count, sum, root mean square " + digest + ", in another process " + known);
            }
            outputs.forEach(Tensor::close);
            double matmulUs = kernel.flops() == 0 ? 0 : kernel.flops() / ceilings.matmul(kernel.dtype(first)) / 1e3;
            boolean memory = bytes / ceilings.copy() / 1e3 >= matmulUs;
            int count = quick || !memory ? 3 : (int) Math.clamp(Math.ceil(4 * Ceilings.lastLevelCache(device) / bytes), 2, MOST_SETS);
            while (sets.size() < count) {
                sets.add(kernel.inputs().apply(1 + sets.size()));
            }
            boolean beside = peer != null && peer.prepare(kernel.name(), sets.size(), digest, tolerance);
            time(kernel, sets, bytes, memory ? ceilings : null, beside ? peer : null, row);
        } finally {
            sets.forEach(set -> set.forEach(Tensor::close));
        }
    }

    private void time(KernelCase kernel, List<List<Tensor>> sets, double bytes, Ceilings copies, KernelPeer libtorch, ObjectNode row) {
        try (Rounds ours = new Rounds(kernel, sets)) {
            long warm = System.nanoTime() + (quick ? 0 : (long) (WARM_SECONDS * 1e9));
            do { // compiles, captures, replays; lets the JIT finish
                ours.run(2 * sets.size());
            } while (System.nanoTime() < warm);
            double once = stopwatch.seconds(() -> ours.run(sets.size())) / sets.size();
            double slice = device.type() == Device.Type.CPU ? SLICE_SECONDS : BATCH_SECONDS;
            int runs = (int) Math.clamp(Math.ceil((quick ? 0 : slice) / once), 1, 2000);
            int slices = (int) Math.clamp(Math.ceil((quick ? 0 : BATCH_SECONDS) / (runs * once)), 1, 10);
            int wanted = quick ? 3 : forks == 1 ? BATCHES : FORK_BATCHES;
            List<Batch> batches = new ArrayList<>();
            long patience = System.nanoTime() + (quick ? 0 : (long) (PATIENCE_SECONDS * 1e9));
            while (batches.size() < wanted || System.nanoTime() < patience && batches.stream().filter(batch -> batch.slowdown < WHOLE).count() < wanted) {
                batches.add(batch(ours, runs, slices, bytes, copies, libtorch));
            }
            List<Batch> best = batches.stream().sorted(Comparator.comparingDouble(Batch::slowdown)).limit(wanted).toList();
            row.put("runs", runs * slices * wanted).put("batches", batches.size());
            for (Batch batch : batches) {
                if (best.contains(batch)) {
                    row.withArray("us").add(batch.us);
                    row.withArray("host_us").add(batch.hostUs);
                    row.withArray("slowdown").add(batch.slowdown);
                    if (copies != null) {
                        row.withArray("ordinary_copy_gb_per_s").add(batch.copy);
                    }
                    if (libtorch != null) {
                        row.withArray("libtorch_us").add(batch.libtorchUs);
                    }
                }
            }
        }
        if (libtorch != null) {
            row.put("libtorch_layout", libtorch.layout());
        }
    }

    /** Times of a run, the copy beside it (0 if there is none), and how disturbed the cores were: on average in our slices or libtorch's, the worse. */
    private record Batch(double us, double hostUs, double copy, double libtorchUs, double slowdown) {}

    private Batch batch(Rounds ours, int runs, int slices, double bytes, Ceilings copies, KernelPeer libtorch) {
        ours.run(1); // wakes the threads
        double seconds = 0;
        double slowdown = 0;
        long[] host = new long[1];
        for (int i = 0; i < slices; i++) {
            seconds += stopwatch.seconds(() -> {
                long start = System.nanoTime();
                ours.run(runs);
                host[0] += System.nanoTime() - start;
            });
            slowdown += slowdown();
        }
        double all = slices * runs;
        double copy = copies == null ? 0 : copies.ordinaryCopyNow(all * bytes);
        double theirs = 0;
        double theirSlowdown = 0;
        for (int i = 0; i < slices && libtorch != null; i++) {
            theirs += libtorch.slice();
            theirSlowdown += slowdown();
        }
        return new Batch(1e6 * seconds / all, host[0] / 1e3 / all, copy, theirs / slices, Math.max(slowdown, theirSlowdown) / slices);
    }

    /** How disturbed the cores are at this moment; on a GPU they do not matter. */
    private double slowdown() {
        return device.type() == Device.Type.CPU ? CoreProbe.shared().slowdown() : 1;
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
