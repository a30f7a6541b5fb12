// heddle bench kernels
package dev.heddle.bench.kernel;

import com.fasterxml.jackson.databind.node.ObjectNode;
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
        List<KernelCase> cases = cases(on);
        Device.use(on);
        KernelBench bench = new KernelBench(on).quick(quick).save(json);
        ObjectNode results;
        try (KernelPeer libtorch = peer == null ? null : new KernelPeer(quick)) {
            results = bench.beside(libtorch).run(cases);
        }
        return KernelBench.failed(results) ? 1 : 0;
    }

    private Device device() {
        try {
            return device == null ? Device.current() : Device.parse(device);
        } catch (IllegalArgumentException e) {
            throw bad("--" + e.getMessage());
        }
    }

    private List<KernelCase> cases(Device on) {
        try {
            Pattern pattern = Pattern.compile(filter == null ? "" : filter);
            List<String> all = names.isEmpty() ? StandardCases.names(on, quick) : names;
            List<String> chosen = all.stream().filter(name -> pattern.matcher(name).find()).toList();
            if (chosen.isEmpty()) {
                throw bad("--filter: none of the cases matches '" + filter + "'; they are " + String.join(", ", all));
            }
            return chosen.stream().map(StandardCases::of).toList();
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
