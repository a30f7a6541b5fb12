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
import java.util.function.DoubleSupplier;
import java.util.stream.IntStream;

/**
 * Runs {@link KernelCase cases} in this process: each is checked, then timed in batches on several sets of random inputs in turn,
 * which together with the outputs exceed the last cache four times where memory is the limit; there every fourth batch comes behind ordinary
 * copies of as many bytes. On the CPU a batch takes about 5 ms, with a {@linkplain CoreProbe look at the cores} before and behind it: of all batches
 * of a case, taken until enough had whole cores or eight seconds were over, those count whose cores were the least disturbed.
 * {@link KernelTable} says what becomes of them. On a GPU nine are taken, of 50 ms, between two events on its stream.
 */
public final class KernelBench {
    private static final int CPU_BATCHES = 25;
    private static final int CPU_FORK_BATCHES = 15;
    private static final int GPU_BATCHES = 9; // as bench/gpu/peers takes of PyTorch, and as long
    private static final int MOST_SETS = 32;
    private static final int COPY_EVERY = 4;
    static final double CPU_BATCH_SECONDS = 0.005; // libtorch's too; as short as cores are whole, at bad times
    private static final double GPU_BATCH_SECONDS = 0.05;
    private static final double WARM_SECONDS = 2.0;
    private static final double PATIENCE_SECONDS = 8.0;
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
     *     {@code us, host_us, slowdown} and with a peer {@code libtorch_us}, then {@code libtorch_layout}; where memory is the limit an array
     *     {@code ordinary_copy_gb_per_s}; {@code ceilings}; or {@code failure}
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
            boolean cpu = device.type() == Device.Type.CPU;
            double seconds = cpu ? CPU_BATCH_SECONDS : GPU_BATCH_SECONDS;
            int runs = (int) Math.clamp(Math.ceil((quick ? 0 : seconds) / once), 1, 2000);
            int wanted = quick ? 3 : !cpu ? GPU_BATCHES : forks == 1 ? CPU_BATCHES : CPU_FORK_BATCHES;
            List<Batch> batches = new ArrayList<>();
            List<Batch> theirs = new ArrayList<>();
            List<Batch> copied = new ArrayList<>();
            List<Batch> host = new ArrayList<>();
            long patience = System.nanoTime() + (quick ? 0 : (long) (PATIENCE_SECONDS * 1e9));
            while (batches.size() < wanted || System.nanoTime() < patience && (whole(batches) < wanted || libtorch != null && whole(theirs) < wanted)) {
                if (copies != null && batches.size() % COPY_EVERY == 0) {
                    copied.add(batch(() -> copies.ordinaryCopyNow(runs * bytes)));
                }
                double[] hostSeconds = new double[1];
                batches.add(batch(() -> 1e6 / runs * stopwatch.seconds(() -> {
                    long start = System.nanoTime();
                    ours.run(runs);
                    hostSeconds[0] = (System.nanoTime() - start) / 1e9;
                })));
                host.add(new Batch(1e6 / runs * hostSeconds[0], batches.getLast().slowdown));
                if (libtorch != null) {
                    theirs.add(batch(libtorch::batch));
                }
            }
            row.put("runs", runs * wanted).put("batches", batches.size());
            best(batches, wanted).forEach(batch -> row.withArray("us").add(batch.measured));
            best(batches, wanted).forEach(batch -> row.withArray("slowdown").add(batch.slowdown));
            best(host, wanted).forEach(batch -> row.withArray("host_us").add(batch.measured));
            best(copied, wanted).forEach(batch -> row.withArray("ordinary_copy_gb_per_s").add(batch.measured));
            best(theirs, wanted).forEach(batch -> row.withArray("libtorch_us").add(batch.measured));
        }
        if (libtorch != null) {
            row.put("libtorch_layout", libtorch.layout());
        }
    }

    /** What was measured, and how disturbed the cores were before or behind. */
    record Batch(double measured, double slowdown) {}

    private Batch batch(DoubleSupplier measure) {
        double before = slowdown();
        double measured = measure.getAsDouble();
        return new Batch(measured, Math.max(before, slowdown()));
    }

    private static long whole(List<Batch> batches) {
        return batches.stream().filter(batch -> batch.slowdown < WHOLE).count();
    }

    /** Those with the least disturbed cores, in the order in which they were taken. */
    static List<Batch> best(List<Batch> batches, int wanted) {
        return IntStream.range(0, batches.size()).boxed().sorted(Comparator.comparingDouble(i -> batches.get(i).slowdown)).limit(wanted).sorted()
                .map(batches::get).toList();
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
