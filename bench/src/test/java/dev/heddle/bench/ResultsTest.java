package dev.heddle.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ResultsTest {
    @Test
    void sayWhereTheyWereMeasured(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("new/result.json");
        Results.write(file, Results.begin("train").put("seconds", 3));
        Results.write(file, Results.begin("kernels").put("seconds", 4));
        JsonNode json = new ObjectMapper().readTree(file.toFile());
        assertEquals("kernels", json.get("what").asText());
        assertEquals(4, json.get("seconds").asInt());
        JsonNode machine = json.get("machine");
        for (String name : List.of("date", "commit", "device", "cpu", "java", "os")) {
            assertTrue(!machine.path(name).asText().isEmpty(), name + " in " + machine);
        }
        assertEquals(Runtime.getRuntime().availableProcessors(), machine.get("processors").asInt());
        assertTrue(machine.get("memory_bytes").asLong() > 1L << 28);
        try (var files = Files.list(file.getParent())) {
            assertEquals(List.of(file), files.toList());
        }
    }
}
