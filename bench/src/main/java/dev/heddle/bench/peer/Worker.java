// A process that trains when it is told to.
package dev.heddle.bench.peer;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A {@link PeerWorker} in a process of its own, and the two ends of its pipe. */
final class Worker implements AutoCloseable {
    /** What all sides compute with lies outside the heap, and an unbounded heap would count garbage as memory needed. */
    private static final List<String> JVM = List.of("-Xmx128m", "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0", "--add-modules", "jdk.incubator.vector",
            "--enable-native-access=ALL-UNNAMED");

    private final String side;
    private final Path log;
    private final Process process;
    private final PrintStream commands;
    private final BufferedReader answers;

    /** Starts {@code heddle}, {@code libtorch} or {@code djl}; {@code bf16} is a precision too. */
    Worker(String side, Workload workload, String precision, Setting setting) throws IOException {
        this.side = side + " (" + setting.name() + "), " + workload;
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java"));
        command.addAll(JVM);
        command.addAll(setting.options());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), PeerWorker.class.getName(), side, workload.name(), precision));
        log = Files.createTempFile("heddle-bench-", ".log");
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(log.toFile());
        builder.environment().putAll(setting.environment());
        process = builder.start();
        commands = new PrintStream(process.getOutputStream(), true);
        answers = process.inputReader();
        try {
            if (!"ready".equals(answers.readLine())) {
                throw ended("did not start");
            }
        } catch (IOException e) {
            close();
            throw e;
        }
    }

    /** The losses of the first steps. */
    double[] losses(int steps) throws IOException {
        return Arrays.stream(ask("check " + steps).split(" ")).mapToDouble(Double::parseDouble).toArray();
    }

    /** Trains for so long; steps a second. */
    double run(double seconds) throws IOException {
        return Double.parseDouble(ask("run " + seconds));
    }

    /** The most memory it ever had resident, in bytes. */
    long peakBytes() throws IOException {
        return Long.parseLong(ask("memory"));
    }

    /** Its processor time so far, in ticks of 10 ms. */
    long ticks() throws IOException {
        String stat = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
    }

    private String ask(String command) throws IOException {
        commands.println(command);
        String answer = answers.readLine();
        if (answer == null) {
            throw ended("ended at '" + command + "'");
        }
        return answer;
    }

    private IOException ended(String what) throws IOException {
        String why = Files.readString(log).lines().filter(line -> line.contains("Exception") || line.contains("Error")).findFirst().orElse("no message");
        return new IOException(side + ": the worker " + what + ": " + why);
    }

    @Override
    public void close() throws IOException {
        commands.close(); // at the end of its input it ends
        process.onExit().completeOnTimeout(process, 10, TimeUnit.SECONDS).join().destroyForcibly();
        Files.deleteIfExists(log);
    }
}
