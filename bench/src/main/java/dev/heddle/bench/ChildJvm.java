// What must not share our process: other libraries with their thread pools, or whatever is to begin without plans and compiled code.
package dev.heddle.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A JVM with our class path that {@linkplain #serve serves} commands, and the two ends of its pipe. */
public final class ChildJvm implements AutoCloseable {
    /** Answers a command, in the child. */
    @FunctionalInterface
    public interface Service {
        /** One line for another; what it throws ends the child. */
        String answer(String command) throws IOException;
    }

    private final String name;
    private final Path log;
    private final Process process;
    private final PrintStream commands;
    private final BufferedReader answers;

    /**
     * Starts it and waits until it serves.
     *
     * @param name for messages of errors
     * @param options of Java, besides the class path and what the engine needs
     * @param environment what it has besides ours
     * @throws IOException if it does not come so far, and why
     */
    public ChildJvm(String name, Class<?> main, List<String> options, Map<String, String> environment, List<String> arguments) throws IOException {
        this.name = name;
        List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java", "--add-modules", "jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path")));
        command.addAll(options);
        command.add(main.getName());
        command.addAll(arguments);
        log = Files.createTempFile("heddle-bench-", ".log");
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(log.toFile());
        builder.environment().putAll(environment);
        try {
            process = builder.start();
        } catch (IOException e) {
            Files.delete(log);
            throw e;
        }
        commands = new PrintStream(process.getOutputStream(), true);
        answers = process.inputReader();
        try {
            read("at its start");
        } catch (IOException e) {
            close();
            throw e;
        }
    }

    /** Serves commands until its input ends; called by the child's {@code main}. */
    public static void serve(Service service) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line; (line = in.readLine()) != null;) {
            System.out.println(service.answer(line));
        }
    }

    /**
     * The child's answer to a command.
     *
     * @throws IOException if it has ended, and why
     */
    public String ask(String command) throws IOException {
        commands.println(command);
        return read("at '" + command + "'");
    }

    private String read(String when) throws IOException {
        String line = answers.readLine();
        if (line == null) {
            List<String> errors = Files.readAllLines(log);
            throw new IOException(name + ": its process ended " + when + ": " + errors.stream().filter(e -> e.contains("Exception") || e.contains("Error"))
                    .findFirst().orElse(errors.isEmpty() ? "no message" : errors.getLast()));
        }
        return line;
    }

    /** The number of the process. */
    public long pid() {
        return process.pid();
    }

    @Override
    public void close() throws IOException {
        commands.close(); // at the end of its input it ends
        process.onExit().completeOnTimeout(process, 10, TimeUnit.SECONDS).join().destroyForcibly();
        Files.deleteIfExists(log);
    }
}
