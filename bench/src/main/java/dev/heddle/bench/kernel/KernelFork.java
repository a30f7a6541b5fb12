// Kernels in a process of their own: the JIT compiles the same kernel better or worse by chance of the process, so that one says little.
package dev.heddle.bench.kernel;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.ChildJvm;
import dev.heddle.engine.Device;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Both sides of the pipe. Commands: {@code begin} gives what results begin with; {@code DIGEST CASE} what {@link KernelBench#measure} gives, with
 * {@code -} for the digest where the case is to be checked against its reference.
 */
public final class KernelFork implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final ChildJvm jvm;

    /** Starts one of several processes, with our properties {@code heddle.*} and, if there is to be a peer, a process of libtorch beside it. */
    KernelFork(Device device, boolean quick, int forks, boolean peer) throws IOException {
        List<String> options = new ArrayList<>();
        System.getProperties().stringPropertyNames().stream().filter(name -> name.startsWith("heddle."))
                .forEach(name -> options.add("-D" + name + "=" + System.getProperty(name)));
        jvm = new ChildJvm("kernels", KernelFork.class, options, Map.of(), List.of(device.toString(), Boolean.toString(quick), Integer.toString(forks),
                Boolean.toString(peer)));
    }

    /** Machine and peers. */
    ObjectNode begin() throws IOException {
        return ask("begin");
    }

    /** Checks and times a standard case there. @param known what a process got that was checked; null to check it */
    ObjectNode measure(String name, Digest known) throws IOException {
        return ask((known == null ? "-" : known) + " " + name);
    }

    private ObjectNode ask(String command) throws IOException {
        return (ObjectNode) JSON.readTree(jvm.ask(command));
    }

    @Override
    public void close() throws IOException {
        jvm.close();
    }

    /** {@code KernelFork DEVICE QUICK FORKS PEER}. */
    public static void main(String[] arguments) throws IOException {
        Device device = Device.parse(arguments[0]);
        Device.use(device);
        boolean quick = Boolean.parseBoolean(arguments[1]);
        try (KernelPeer libtorch = Boolean.parseBoolean(arguments[3]) ? new KernelPeer(quick) : null; Ceilings ceilings = new Ceilings(device, quick)) {
            KernelBench bench = new KernelBench(device).quick(quick).forks(Integer.parseInt(arguments[2])).beside(libtorch);
            ChildJvm.serve(line -> {
                String[] words = line.split(" ", 2);
                return (line.equals("begin") ? bench.begin() : bench.measure(StandardCases.of(words[1]), ceilings,
                        words[0].equals("-") ? null : Digest.parse(words[0]))).toString();
            });
        }
    }
}
