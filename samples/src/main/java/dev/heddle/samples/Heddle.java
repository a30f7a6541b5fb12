// The command line.
package dev.heddle.samples;

import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.DeviceUnavailableException;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.DatasetException;
import dev.heddle.training.NonFiniteLossException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;

/**
 * {@code heddle train | predict | generate | embed | finetune | data | devices}. Results go to standard output, progress and errors to
 * standard error. Exit status: 0, or 1 for what went wrong, or 2 for a command line that makes no sense.
 */
@Command(name = "heddle", mixinStandardHelpOptions = true, version = "Heddle 0.1.0",
        description = "Trains models, uses them, and says what it runs on.",
        footer = {"", "heddle bench: benchmarks and comparisons, from a module of their own."},
        subcommands = {TrainCommand.class, PredictCommand.class, GenerateCommand.class, EmbedCommand.class, FinetuneCommand.class,
            DataCommand.class, DevicesCommand.class})
public final class Heddle {
    @Option(names = "--stacktrace", scope = ScopeType.INHERIT, description = "Show where an error came from.")
    private boolean stacktrace;

    /** Runs a command and exits with its status. */
    public static void main(String[] arguments) {
        System.setProperty("java.awt.headless", "true");
        System.setProperty("org.slf4j.simpleLogger.log.ai.djl", "error"); // the tokenizers' library tells where it unpacks itself
        System.exit(commandLine().execute(arguments));
    }

    /** The parser with its handling of errors: what can be expected is told in one line. */
    static CommandLine commandLine() {
        Heddle root = new Heddle();
        CommandLine line = new CommandLine(root).setCaseInsensitiveEnumValuesAllowed(true);
        line.setExecutionExceptionHandler((failure, command, result) -> {
            boolean expected = failure instanceof DatasetException || failure instanceof CheckpointException
                    || failure instanceof NonFiniteLossException || failure instanceof DeviceUnavailableException
                    || failure instanceof DeviceOutOfMemoryException || failure instanceof IllegalArgumentException;
            if (expected && !root.stacktrace) {
                command.getErr().println("heddle: " + failure.getMessage());
            } else {
                failure.printStackTrace(command.getErr());
            }
            return 1;
        });
        return line;
    }
}
