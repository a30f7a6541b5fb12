// heddle data
package dev.heddle.samples;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** What prepares data. */
@Command(name = "data", mixinStandardHelpOptions = true, description = "Prepare data for training.", subcommands = DataPackCommand.class)
final class DataCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "Missing required subcommand: 'pack'");
    }
}
