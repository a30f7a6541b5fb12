// heddle bench kernels
package dev.heddle.bench.kernel;

import dev.heddle.engine.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code heddle bench kernels}: exit status 1 if a kernel failed. */
@Command(name = "kernels", mixinStandardHelpOptions = true, description = "Checks and times kernels on a device, beside its ceilings.")
public final class KernelsCommand implements Callable<Integer> {
    private static final int MOST_FORKS = 100;

    @Spec
    private CommandSpec spec;

    @Option(names = "--device", paramLabel = "NAME", description = "cpu, cuda, cuda:N or auto; default: what -Dheddle.device says, or cpu.")
    private String device;

    @Option(names = "--filter", paramLabel = "REGEX", description = "Only cases in whose name this is found, such as '^conv' or bf16.")
    private String filter;

    @Option(names = "--json", paramLabel = "FILE", description = "Writes the results there.")
    private Path json;

    @Option(names = "--peer", paramLabel = "NAME", description = "libtorch: times the same there, in turns, in a process of its own; CPU only.")
    private String peer;

    @Option(names = "--forks", paramLabel = "N", description = "How many processes, one behind the other, run all cases; default: 3, on a GPU and with"
            + " --quick 1.")
    private Integer forks;

    @Option(names = "--quick", description = "Small sizes and few runs, to see that everything runs.")
    private boolean quick;

    @Parameters(arity = "0..*", paramLabel = "CASE", description = "Instead of the device's list, for example 'softmax f32 16384x1024'.")
    private List<String> names = new ArrayList<>();

    @Override
    public Integer call() throws IOException {
        if (peer != null && !peer.equals("libtorch")) {
            throw bad("--peer: expected libtorch, got '" + peer + "'");
        }
        Device on = device();
        if (peer != null && on.type() != Device.Type.CPU) {
            throw bad("--peer libtorch: runs on the CPU only, not on " + on);
        }
        List<String> cases = cases(on);
        int processes = forks != null ? forks : quick || on.type() != Device.Type.CPU ? 1 : 3;
        if (processes < 1 || processes > MOST_FORKS) {
            throw bad("--forks: expected 1 to " + MOST_FORKS + ", got " + processes);
        }
        KernelTable table = new KernelTable(System.out, json, processes);
        for (int i = 1; i <= processes; i++) {
            try (KernelFork fork = new KernelFork(on, quick, processes, peer != null)) {
                table.begin(fork.begin());
                for (String name : cases) {
                    if (!table.failed(name)) {
                        if (i < processes) { // the last one's rows are printed
                            System.err.println("process " + i + " of " + processes + ": " + name);
                        }
                        table.add(name, fork.measure(name, table.known(name)));
                    }
                }
            }
        }
        return KernelTable.anyFailed(table.end()) ? 1 : 0;
    }

    private Device device() {
        try {
            return device == null ? Device.current() : Device.parse(device);
        } catch (IllegalArgumentException e) {
            throw bad("--" + e.getMessage());
        }
    }

    private List<String> cases(Device on) {
        try {
            Pattern pattern = Pattern.compile(filter == null ? "" : filter);
            List<String> all = names.isEmpty() ? StandardCases.names(on, quick) : names;
            List<String> chosen = all.stream().filter(name -> pattern.matcher(name).find()).distinct().toList();
            if (chosen.isEmpty()) {
                throw bad("--filter: none of the cases matches '" + filter + "'; they are " + String.join(", ", all));
            }
            chosen.forEach(StandardCases::of); // which refuses what it does not know
            return chosen;
        } catch (PatternSyntaxException e) {
            throw bad("--filter: '" + filter + "' is no regular expression: " + e.getDescription());
        } catch (IllegalArgumentException e) {
            throw bad(e.getMessage());
        }
    }

    private ParameterException bad(String message) {
        return new ParameterException(spec.commandLine(), message);
    }
}
