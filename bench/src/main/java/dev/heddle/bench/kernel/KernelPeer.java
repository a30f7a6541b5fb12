// libtorch's side of the kernel bench, in a process of its own: in ours its thread pools would fight the engine's.
package dev.heddle.bench.kernel;

import dev.heddle.bench.ChildJvm;
import dev.heddle.bench.peer.Setting;
import dev.heddle.engine.cpu.WorkerPool;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;

/**
 * Both sides of the pipe. Commands: {@code case SETS NAME} makes the inputs that the engine has, chooses the faster layout and gives it with a
 * digest of the first set's output, or {@code none}; {@code batch} gives the microseconds a run takes, on average over 5 ms.
 */
public final class KernelPeer implements AutoCloseable {
    private static final long ASLEEP_NANOS = 2_000_000; // by then its threads sleep

    private final ChildJvm jvm;
    private final String setting;
    private String layout = "";

    KernelPeer(boolean quick) throws IOException {
        Setting best = Setting.candidates("libtorch").getFirst(); // MKL, where it is on the class path
        setting = "libtorch, " + best.name();
        Map<String, String> environment = new HashMap<>(best.environment());
        environment.put("JDK_JAVA_OPTIONS", ""); // and not ours
        // Large results from memory that was used before, as the engine has them, and not from fresh pages of the system.
        environment.put("GLIBC_TUNABLES", System.getenv().getOrDefault("GLIBC_TUNABLES",
                "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:glibc.malloc.arena_max=1"));
        environment.put("THP_MEM_ALLOC_ENABLE", System.getenv().getOrDefault("THP_MEM_ALLOC_ENABLE", "1"));
        // Its threads wait actively between operations, but not for many milliseconds after a batch, in which they would take a core from us.
        environment.put("GOMP_SPINCOUNT", System.getenv().getOrDefault("GOMP_SPINCOUNT", "20000"));
        jvm = new ChildJvm("libtorch", KernelPeer.class, List.of("-Dheddle.threads=1", "-Dheddle.cpu.native=false",
                "-Dthreads=" + WorkerPool.shared().threads(), "-Dorg.bytedeco.javacpp.maxphysicalbytes=0"), environment, List.of(Boolean.toString(quick)));
    }

    /**
     * Makes a case ready.
     *
     * @return false if it has none for libtorch
     * @throws IllegalStateException if it computes something else
     */
    boolean prepare(String name, int sets, Digest digest, double tolerance) {
        String answer = ask("case " + sets + " " + name);
        if (answer.equals("none")) {
            return false;
        }
        String[] words = answer.split(" ");
        layout = words[0];
        Digest theirs = Digest.parse(words[1]);
        if (!digest.agrees(theirs, tolerance)) {
            throw new IllegalStateException("libtorch computes something else: count, sum, root mean square " + theirs + ", here " + digest);
        }
        return true;
    }

    /** Which libtorch, and what it computes products with. */
    String setting() {
        return setting;
    }

    /** The layout libtorch was fastest in; empty where there is but one. */
    String layout() {
        return layout.equals("-") ? "" : layout;
    }

    /** Microseconds a run takes there, on average over 5 ms. */
    double batch() {
        double us = Double.parseDouble(ask("batch"));
        LockSupport.parkNanos(ASLEEP_NANOS);
        return us;
    }

    private String ask(String command) {
        try {
            String answer = jvm.ask(command);
            if (answer.startsWith("failed ")) {
                throw new IllegalStateException("libtorch " + answer + " at '" + command + "'");
            }
            return answer;
        } catch (IOException e) {
            throw new IllegalStateException(e.getMessage(), e);
        }
    }

    @Override
    public void close() throws IOException {
        jvm.close();
    }

    /** {@code KernelPeer QUICK}. */
    public static void main(String[] arguments) throws IOException {
        LibTorchKernel[] kernel = {null};
        ChildJvm.serve(line -> {
            try {
                if (!line.startsWith("case ")) {
                    return Double.toString(kernel[0].batch());
                }
                String[] words = line.split(" ", 3);
                if (kernel[0] != null) {
                    kernel[0].close();
                }
                kernel[0] = LibTorchKernel.of(words[2], Integer.parseInt(words[1]), Boolean.parseBoolean(arguments[0]));
                return kernel[0] == null ? "none" : kernel[0].layout() + " " + kernel[0].digest();
            } catch (RuntimeException e) {
                return "failed " + e.toString().lines().findFirst().orElse("");
            }
        });
    }
}
