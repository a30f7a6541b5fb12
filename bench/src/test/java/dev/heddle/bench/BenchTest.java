// The command line: what is told for bad arguments, and that every command can say what it does.
package dev.heddle.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class BenchTest {
    private final StringWriter errors = new StringWriter();
    private final StringWriter output = new StringWriter();

    private int run(String... arguments) {
        return Bench.commandLine().setErr(new PrintWriter(errors)).setOut(new PrintWriter(output)).execute(arguments);
    }

    @Test
    void badArgumentsAreErrorsOfOneLine() {
        assertEquals(1, run("scaling", "--device", "abacus"));
        assertTrue(errors.toString().startsWith("heddle bench: ") && errors.toString().contains("abacus"), errors.toString());
        assertEquals(1, errors.toString().strip().lines().count(), errors.toString());
    }

    @Test
    void reportsNeedResults() {
        assertEquals(1, run("report", "there/is/none.json"));
        assertTrue(errors.toString().startsWith("heddle bench: there/is/none.json: cannot be read"), errors.toString());
    }

    @Test
    void unknownOptionsAreRefused() {
        assertEquals(2, run("scaling", "--fast"));
        assertTrue(errors.toString().contains("--fast"), errors.toString());
        assertEquals(2, run("nothing"));
    }

    @Test
    void jmhsResultsAreKeptWithTheMachine(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("jmh.json");
        String benchmark = "CallBenchmark.panama$"; // needs no engine, and no time
        assertEquals(0, run("jmh", "--json", file.toString(), benchmark, "-f", "0", "-wi", "0", "-i", "1", "-r", "1ms", "-v", "SILENT"), errors.toString());
        JsonNode json = new ObjectMapper().readTree(file.toFile());
        assertEquals("jmh", json.get("what").asText());
        assertTrue(json.get("machine").has("commit"));
        assertEquals(1, json.get("benchmarks").size());
        assertTrue(json.get("benchmarks").get(0).get("primaryMetric").get("score").asDouble() > 0, json.toString());
        assertFalse(json.get("benchmarks").get(0).has("jvm"), "a path of this machine");
    }

    @Test
    void everyCommandSaysWhatItDoes() {
        Bench.commandLine().getSubcommands().values().stream().map(CommandLine::getCommandSpec).forEach(
                spec -> assertTrue(spec.usageMessage().description().length > 0, spec.name()));
        for (String name : Bench.commandLine().getSubcommands().keySet()) {
            assertEquals(0, run(name, "--help"), name + ": " + errors);
            assertTrue(output.toString().contains("Usage: heddle bench " + name), name + ": " + output);
        }
    }
}
