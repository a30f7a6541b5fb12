// Where a result was measured: without machine, versions and commit a number says nothing.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.Device;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The machine, the versions and the commit of a result. */
public final class Machine {
    private Machine() {}

    /**
     * What every result begins with: {@code date}, {@code commit} ({@code unknown} outside a git checkout; {@code -dirty} where
     * files differ from it), {@code device}, {@code cpu}, {@code processors}, {@code memory_bytes}, {@code java} and {@code os};
     * {@code heddle_options} if a property {@code heddle.*} is set to something other than a path, and {@code gpu} (name, driver, memory) on a CUDA device.
     */
    public static ObjectNode describe() {
        ObjectNode json = new ObjectMapper().createObjectNode();
        json.put("date", LocalDate.now().toString()).put("commit", commit()).put("device", Device.current().toString()).put("cpu", cpu())
                .put("processors", Runtime.getRuntime().availableProcessors()).put("memory_bytes", memory())
                .put("java", System.getProperty("java.vm.name") + " " + Runtime.version())
                .put("os", System.getProperty("os.name") + " " + System.getProperty("os.version") + " " + System.getProperty("os.arch"));
        String options = options();
        if (!options.isEmpty()) {
            json.put("heddle_options", options);
        }
        if (Device.current().type() == Device.Type.CUDA) {
            GpuInfo gpu = new GpuInfo();
            json.putObject("gpu").put("name", gpu.name()).put("cuda_driver", gpu.version()).put("memory_bytes", gpu.memory(true))
                    .put("stand_in", gpu.standIn());
        }
        return json;
    }

    private static String options() {
        TreeMap<String, String> set = new TreeMap<>();
        System.getProperties().stringPropertyNames().stream().filter(name -> name.startsWith("heddle.") && !System.getProperty(name).startsWith("/"))
                .forEach(name -> set.put(name, System.getProperty(name)));
        return set.entrySet().stream().map(e -> "-D" + e.getKey() + "=" + e.getValue()).collect(Collectors.joining(" "));
    }

    /** Of the checkout whose classes run. */
    private static String commit() {
        try {
            Path classes = Path.of(Machine.class.getProtectionDomain().getCodeSource().getLocation().toURI());
            Process git = new ProcessBuilder("git", "describe", "--always", "--dirty", "--abbrev=12").directory(classes.getParent().toFile())
                    .redirectError(new File("/dev/null")).start();
            String commit = new String(git.getInputStream().readAllBytes(), StandardCharsets.UTF_8).trim();
            return git.waitFor() == 0 && !commit.isEmpty() ? commit : "unknown";
        } catch (IOException | URISyntaxException e) {
            return "unknown"; // no git, or not from a folder
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "unknown";
        }
    }

    private static String cpu() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(line -> line.startsWith("model name")).findFirst().map(line -> line.substring(line.indexOf(':') + 2)).orElse("unknown");
        } catch (IOException e) {
            return "unknown"; // not Linux
        }
    }

    private static long memory() {
        return ManagementFactory.getOperatingSystemMXBean() instanceof com.sun.management.OperatingSystemMXBean os ? os.getTotalMemorySize() : -1;
    }
}
