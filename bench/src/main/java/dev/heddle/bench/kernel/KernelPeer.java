// libtorch's side of the kernel bench, in a process of its own: in ours its thread pools would fight the engine's.
package dev.heddle.bench.kernel;

import dev.heddle.bench.peer.Setting;
import dev.heddle.engine.cpu.WorkerPool;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Both ends of the pipe. Commands: {@code case SETS NAME} makes the inputs that the engine has, chooses the faster layout and prints it with a
 * digest of the first set's output, or {@code none}; {@code batch} prints the microseconds a run takes.
 */
public final class KernelPeer implements AutoCloseable {
    private final Process process;
    private final PrintStream commands;
    private final BufferedReader answers;
    private final String setting;
    private String layout = "";

    KernelPeer(boolean quick) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(System.getProperty("java.home") + "/bin/java", "--add-modules", "jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED", "-Dheddle.threads=1", "-Dheddle.cpu.native=false", "-Dthreads=" + WorkerPool.shared().threads(), "-Dorg.bytedeco.javacpp.maxphysicalbytes=0",
                "-cp", System.getProperty("java.class.path"), KernelPeer.class.getName(), Boolean.toString(quick))
                .redirectError(ProcessBuilder.Redirect.DISCARD);
        Map<String, String> environment = builder.environment();
        environment.remove("JDK_JAVA_OPTIONS"); // ours
        Setting best = Setting.candidates("libtorch").getFirst(); // MKL, where it is on the class path
        setting = "libtorch, " + best.name();
        environment.putAll(best.environment());
        // Large results from memory that was used before, as the engine has them, and not from fresh pages of the system.
        environment.putIfAbsent("GLIBC_TUNABLES", "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:glibc.malloc.arena_max=1");
        environment.putIfAbsent("THP_MEM_ALLOC_ENABLE", "1");
        process = builder.start();
        commands = new PrintStream(process.getOutputStream(), true);
        answers = process.inputReader();
        if (!"ready".equals(answers.readLine())) {
            close();
            throw new IOException("libtorch did not start");
        }
    }

    /**
     * Makes a case ready.
     *
     * @return false if it has none for libtorch
     * @throws IllegalStateException if it computes something else
     */
    boolean prepare(String name, int sets, String digest, double tolerance) {
        String answer = ask("case " + sets + " " + name);
        if (answer.equals("none")) {
            return false;
        }
        String[] words = answer.split(" ");
        layout = words[0];
        double[] ours = numbers(digest);
        double[] theirs = numbers(words[1]);
        // n, sum, root of the mean square; of random errors the sum has the root of n
        boolean same = ours[0] == theirs[0] && Math.abs(ours[2] - theirs[2]) <= tolerance * ours[2]
                && Math.abs(ours[1] - theirs[1]) <= 10 * tolerance * ours[2] * Math.sqrt(ours[0]);
        if (!same) {
            throw new IllegalStateException("libtorch computes something else: count, sum, root mean square " + words[1] + ", here " + digest);
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

    /** Microseconds a run takes there. */
    double batch() {
        return Double.parseDouble(ask("batch"));
    }

    private String ask(String command) {
        try {
            commands.println(command);
            String answer = answers.readLine();
            if (answer == null || answer.startsWith("failed ")) {
                throw new IllegalStateException("libtorch " + (answer == null ? "ended" : answer) + " at '" + command + "'");
            }
            return answer;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** How many numbers, their sum, and the root of their mean square. */
    static String digest(double[] values) {
        double sum = 0;
        double squares = 0;
        for (double value : values) {
            sum += value;
            squares += value * value;
        }
        return values.length + "," + sum + "," + Math.sqrt(squares / values.length);
    }

    private static double[] numbers(String digest) {
        return List.of(digest.split(",")).stream().mapToDouble(Double::parseDouble).toArray();
    }

    @Override
    public void close() {
        commands.close(); // at the end of its input it ends
        process.onExit().completeOnTimeout(process, 10, TimeUnit.SECONDS).join().destroyForcibly();
    }

    /** Serves commands until its input ends. */
    public static void main(String[] arguments) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        LibTorchKernel kernel = null;
        for (String line; (line = in.readLine()) != null;) {
            String answer;
            try {
                if (line.startsWith("case ")) {
                    String[] words = line.split(" ", 3);
                    if (kernel != null) {
                        kernel.close();
                    }
                    kernel = LibTorchKernel.of(words[2], Integer.parseInt(words[1]), Boolean.parseBoolean(arguments[0]));
                    answer = kernel == null ? "none" : kernel.layout() + " " + kernel.digest();
                } else {
                    answer = Double.toString(kernel.batch());
                }
            } catch (RuntimeException e) {
                answer = "failed " + e.toString().lines().findFirst().orElse("");
            }
            System.out.println(answer);
        }
    }
}
