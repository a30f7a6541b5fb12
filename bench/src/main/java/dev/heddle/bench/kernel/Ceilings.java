// What the machine can do, measured in the same run as the kernels that are set beside it.
package dev.heddle.bench.kernel;

import dev.heddle.bench.GpuInfo;
import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.memory.NativeMemory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Copy bandwidth (bytes read and written) and the speed of a large matrix product of each dtype. On the CPU the copy is the best of three
 * on all threads: one large piece a thread, for which the JDK's copy writes past the caches and so spares the read that an ordinary write
 * to memory begins with; pieces of 1 MiB; and the engine's own loop. On a GPU it is the better of the driver's copy and the engine's.
 */
final class Ceilings implements AutoCloseable {
    private static final int REPEATS = 7;
    private static final long PIECE = 1 << 20;

    private final Device device;
    private final boolean quick;
    private final Stopwatch watch;
    private final long bytes;
    private final Tensor x;
    private final long from; // on the CPU, of the host's copies
    private final long to;
    private final Runnable ordinary;
    private final double copy;
    private final double ordinaryCopy;
    private final Map<DType, Double> matmul = new EnumMap<>(DType.class);

    Ceilings(Device device, boolean quick) {
        this.device = device;
        this.quick = quick;
        watch = new Stopwatch(device);
        bytes = quick ? 1 << 20 : Math.max(128L << 20, 4 * lastLevelCache(device));
        boolean cpu = device.type() == Device.Type.CPU;
        x = KernelCase.randn(1, DType.F32, bytes / 4);
        Runnable engine = () -> x.add(0).eval().close();
        double engineCopy = 2.0 * bytes / best(engine) / 1e9;
        if (cpu) {
            from = NativeMemory.allocate(bytes);
            to = NativeMemory.allocate(bytes);
            Memory.fill(from, bytes, (byte) 1);
            Memory.fill(to, bytes, (byte) 2);
            double pieces = 2.0 * bytes / best(() -> hostCopy(PIECE)) / 1e9;
            ordinary = pieces > engineCopy ? () -> hostCopy(PIECE) : engine;
            ordinaryCopy = Math.max(engineCopy, pieces);
            copy = Math.max(ordinaryCopy, 2.0 * bytes / best(() -> hostCopy(bytes / WorkerPool.shared().threads())) / 1e9);
        } else {
            from = 0;
            to = 0;
            ordinary = engine;
            ordinaryCopy = engineCopy;
            copy = Math.max(ordinaryCopy, GpuInfo.copyBandwidth(bytes));
        }
    }

    /** Bytes read and written a second, in 1e9. */
    double copy() {
        return copy;
    }

    /** The same without the ways that write past the caches, or on a GPU the driver's: what a kernel can come to. */
    double ordinaryCopy() {
        return ordinaryCopy;
    }

    /** What ordinary copies come to at this moment: bytes a second, in 1e9. @param amount about how many bytes to read and write */
    double ordinaryCopyNow(double amount) {
        long copies = Math.max(1, Math.round(amount / (2.0 * bytes)));
        return 2.0 * bytes * copies / 1e9 / watch.seconds(() -> {
            for (long i = 0; i < copies; i++) {
                ordinary.run();
            }
        });
    }

    /** Operations a second, in 1e9, of a large product; measured when it is first asked for. */
    double matmul(DType dtype) {
        return matmul.computeIfAbsent(dtype, this::measureMatmul);
    }

    /** What was measured of products so far. */
    Map<DType, Double> matmuls() {
        return matmul;
    }

    private double measureMatmul(DType dtype) {
        long n = quick ? 64 : device.type() == Device.Type.CPU ? 2048 : 8192;
        try (Tensor a = KernelCase.randn(1, dtype, n, n); Tensor b = KernelCase.randn(2, dtype, n, n)) {
            return 2.0 * n * n * n / best(() -> a.matmul(b).eval().close()) / 1e9;
        }
    }

    /** The least seconds of a few series. */
    private double best(Runnable work) {
        double best = Double.POSITIVE_INFINITY;
        for (int i = 0; i < REPEATS; i++) {
            best = Math.min(best, watch.seconds(work));
        }
        return best;
    }

    private void hostCopy(long piece) {
        int pieces = (int) ((bytes + piece - 1) / piece);
        WorkerPool.shared().parallelFor(pieces, i -> Memory.copy(from + i * piece, to + i * piece, Math.min(piece, bytes - i * piece)));
    }

    @Override
    public void close() {
        x.close();
        if (from != 0) {
            NativeMemory.free(from, bytes);
            NativeMemory.free(to, bytes);
        }
    }

    /** Bytes of the largest cache: inputs used in turn must be several times as large. */
    static long lastLevelCache(Device device) {
        if (device.type() != Device.Type.CPU) {
            return 128L << 20; // no GPU so far has more
        }
        try (Stream<Path> levels = Files.list(Path.of("/sys/devices/system/cpu/cpu0/cache"))) {
            List<String> sizes = levels.map(level -> level.resolve("size")).filter(Files::isRegularFile).map(Ceilings::text).toList();
            return sizes.stream().filter(size -> size.matches("\\d{1,9}K")).mapToLong(size -> Long.parseLong(size.substring(0, size.length() - 1)) << 10)
                    .max().orElse(32L << 20);
        } catch (IOException notLinux) {
            return 32L << 20;
        }
    }

    private static String text(Path file) {
        try {
            return Files.readString(file).strip();
        } catch (IOException unreadable) {
            return "";
        }
    }
}
