// heddle bench
package dev.heddle.bench;

import dev.heddle.bench.guard.GuardCommand;
import dev.heddle.bench.jmh.JmhCommand;
import dev.heddle.bench.kernel.KernelsCommand;
import dev.heddle.bench.peer.TrainCommand;
import dev.heddle.bench.report.ReportCommand;
import dev.heddle.bench.scaling.ScalingCommand;
import dev.heddle.engine.DeviceUnavailableException;
import java.io.IOException;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.ScopeType;

/** {@code heddle bench}: results go to standard output, progress to standard error; exit status 0, 1 for what went wrong, 2 for bad arguments. */
@Command(name = "heddle bench", mixinStandardHelpOptions = true, description = "Measures Heddle, by itself and beside other libraries.",
        subcommands = {TrainCommand.class, KernelsCommand.class, ScalingCommand.class, JmhCommand.class, GuardCommand.class, ReportCommand.class})
public final class Bench {
    @Option(names = "--stacktrace", scope = ScopeType.INHERIT, description = "Show where an error came from.")
    private boolean stacktrace;

    /** Runs a command and exits with its status. */
    public static void main(String[] arguments) {
        System.setProperty("java.awt.headless", "true");
        System.exit(commandLine().execute(arguments));
    }

    /** The parser with its handling of errors: what can be expected is told in one line. */
    static CommandLine commandLine() {
        Bench root = new Bench();
        CommandLine line = new CommandLine(root).setCaseInsensitiveEnumValuesAllowed(true);
        line.getSubcommands().get("jmh").setUnmatchedOptionsArePositionalParams(true);
        line.setExecutionExceptionHandler((failure, command, result) -> {
            if (root.stacktrace || !(failure instanceof IllegalArgumentException || failure instanceof IOException
                    || failure instanceof DeviceUnavailableException)) {
                failure.printStackTrace(command.getErr());
            } else {
                command.getErr().println("heddle bench: " + failure.getMessage());
            }
            return 1;
        });
        return line;
    }

    @Command(name = "soak", mixinStandardHelpOptions = true, description = "Whether memory stays flat over many training steps.")
    void soak(@Parameters(arity = "0..1", defaultValue = "10000", paramLabel = "STEPS", description = "How many; default: ${DEFAULT-VALUE}.") int steps) throws IOException {
        Soak.main(new String[] {Integer.toString(steps)});
    }
}
