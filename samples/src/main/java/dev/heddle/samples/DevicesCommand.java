// heddle devices
package dev.heddle.samples;

import dev.heddle.engine.cpu.OneDnn;
import dev.heddle.engine.cpu.WorkerPool;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import jdk.incubator.vector.FloatVector;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Says what can be computed on, which libraries were found where, and why others were not. */
@Command(name = "devices", mixinStandardHelpOptions = true, description = "Show devices and libraries.")
final class DevicesCommand implements Callable<Integer> {
    private static final List<List<String>> CUDA = List.of(List.of("libcuda.so.1"), List.of("libcublasLt.so.13", "libcublasLt.so.12"),
            List.of("libcudnn.so.9"), List.of("libnvrtc.so.13", "libnvrtc.so.12"), List.of("libnccl.so.2"));

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        Runtime runtime = Runtime.getRuntime();
        out.printf("cpu: %d processors, %d threads used, vectors of %d bits, Java %s%n", runtime.availableProcessors(),
                WorkerPool.shared().threads(), FloatVector.SPECIES_PREFERRED.vectorBitSize(), Runtime.version());
        out.println("  oneDNN: " + (OneDnn.available() ? OneDnn.version() + ", in use" : "not used: " + OneDnn.unavailableReason()));
        out.println("cuda: this version has no CUDA backend yet; of the libraries it will need:");
        for (List<String> names : CUDA) {
            out.println("  " + find(names));
        }
        out.flush();
        return 0;
    }

    private static String find(List<String> names) {
        List<String> reasons = new ArrayList<>();
        for (String name : names) {
            String reason = load(name);
            if (reason == null) {
                return name + ": found by the loader";
            }
            for (Path folder : folders()) {
                Path file = folder.resolve(name);
                if (Files.exists(file)) {
                    String failure = load(file.toString());
                    if (failure == null) {
                        return name + ": " + file;
                    }
                    reasons.add(failure);
                }
            }
            reasons.add(reason);
        }
        return String.join(" or ", names) + ": not found: " + String.join("; ", reasons);
    }

    /** Null if the library loads, else the loader's own message. */
    @SuppressWarnings("restricted")
    private static String load(String name) {
        try (Arena arena = Arena.ofConfined()) {
            if (name.startsWith("/")) {
                SymbolLookup.libraryLookup(Path.of(name), arena);
            } else {
                SymbolLookup.libraryLookup(name, arena);
            }
            return null;
        } catch (IllegalArgumentException e) {
            return e.getMessage();
        }
    }

    /** Where CUDA libraries may lie besides the loader's path. */
    private static List<Path> folders() {
        List<Path> folders = new ArrayList<>();
        for (String home : new String[] {System.getProperty("heddle.cuda.home"), System.getenv("CUDA_HOME"), System.getenv("CUDA_PATH")}) {
            if (home != null && !home.isBlank()) {
                folders.add(Path.of(home, "lib64"));
                folders.add(Path.of(home, "lib"));
            }
        }
        try (Stream<Path> installed = Files.list(Path.of("/usr/local"))) {
            installed.filter(p -> p.getFileName().toString().startsWith("cuda")).sorted().forEach(p -> folders.add(p.resolve("lib64")));
        } catch (java.io.IOException | java.io.UncheckedIOException e) {
            folders.add(Path.of("/usr/local/cuda/lib64"));
        }
        return folders;
    }
}
