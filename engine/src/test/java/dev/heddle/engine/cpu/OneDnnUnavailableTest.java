// Without oneDNN the engine must go on and say why. The library loads once a process, so each case is a process.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class OneDnnUnavailableTest {
    @TempDir
    private Path folder;

    /** What each process does. */
    static final class Probe {
        public static void main(String[] arguments) {
            var product = new OneDnnMatMulShape(DType.F32, DType.F32, false, false, 1, 2, 2, 2, 2, 0, 2, 0, 2, 0, false, false);
            System.out.println(OneDnn.available() + " " + OneDnn.version() + " " + (OneDnnMatMul.of(product) != null));
            System.out.println(OneDnn.unavailableReason());
            System.out.println(OneDnnMatMul.unsupported(product));
        }
    }

    @Test
    void switchedOff() throws Exception {
        List<String> lines = probe(folder, "-Dheddle.cpu.native=false");
        assertTrue(lines.get(0).contains("oneDNN") && lines.get(0).contains("switched off"), lines.toString()); // logged once
        assertEquals("false null false", lines.get(1));
        assertEquals("switched off by -Dheddle.cpu.native=false", lines.get(2));
        assertEquals("oneDNN is not available: " + lines.get(2), lines.get(3));
        assertEquals(4, lines.size(), lines.toString());
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void noFolderToUnpackTo() throws Exception {
        Path file = Files.createFile(folder.resolve("file"));
        List<String> lines = probe(file);
        assertEquals("false null false", lines.get(1), lines.toString());
        assertTrue(lines.get(2).contains(file.toString()), lines.toString());
    }

    @Test
    @EnabledOnOs(value = OS.LINUX, architectures = "amd64")
    void unpacksOnceAndRepairsWhatIsDamaged() throws Exception {
        assertEquals("true 3.11.0 true", probe(folder).getFirst());
        Path library;
        try (var files = Files.walk(folder)) {
            library = files.filter(file -> file.endsWith("libdnnl.so.3")).findFirst().orElseThrow();
        }
        Object unpacked = Files.readAttributes(library, "unix:ino").get("ino");
        assertEquals("true 3.11.0 true", probe(folder).getFirst());
        assertEquals(unpacked, Files.readAttributes(library, "unix:ino").get("ino"));
        Files.write(library, new byte[] {1, 2, 3});
        assertEquals("true 3.11.0 true", probe(folder).getFirst());
    }

    private static List<String> probe(Path cache, String... flags) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules", "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED",
                "-cp", System.getProperty("java.class.path")));
        command.addAll(List.of(flags));
        command.add(Probe.class.getName());
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("XDG_CACHE_HOME", cache.toString());
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        return output.lines().filter(line -> !line.startsWith("WARNING: Using incubator")).toList();
    }
}
