package dev.heddle.bench.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

@EnabledOnOs(value = OS.LINUX, disabledReason = "workers report their memory from /proc")
class TrainCommandTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    private int train(String... arguments) {
        return new CommandLine(new TrainCommand()).setCaseInsensitiveEnumValuesAllowed(true).setOut(new PrintWriter(out)).setErr(new PrintWriter(err))
                .execute(arguments);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {"--rounds 0 | --rounds 0", "--seconds -1 | --seconds", "--seconds NaN | --seconds", "--workloads mpl | mpl",
        "--peers tensorflow | tensorflow", "--peers none,djl | none stands alone", "--precision bf16 | only --workloads gpt",
        "--precision bf16 --workloads gpt,mlp | only --workloads gpt", "--precision f16 | f16"})
    void refusesBadArguments(String arguments, String reason) {
        assertEquals(2, train(arguments.split(" ")));
        assertTrue(err.toString().contains(reason), err::toString);
    }

    @Test
    void heddleAloneIsReported(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("train.json");
        assertEquals(0, train("--workloads", "mlp", "--peers", "none", "--rounds", "2", "--seconds", "0.1", "--json", file.toString()), err::toString);
        JsonNode json = new ObjectMapper().readTree(file.toFile());
        assertEquals("train", json.get("what").asText());
        assertTrue(json.get("machine").has("commit"));
        JsonNode mlp = json.get("workloads").get("mlp");
        assertEquals(128, mlp.get("batch").asInt());
        assertEquals("images", mlp.get("sample").asText());
        assertEquals("f32", mlp.get("precision").asText());
        JsonNode heddle = mlp.get("heddle");
        assertTrue(0 < heddle.get("min").asDouble() && heddle.get("min").asDouble() <= heddle.get("median").asDouble());
        assertTrue(heddle.get("median").asDouble() <= heddle.get("max").asDouble());
        assertTrue(heddle.get("peak_bytes").asLong() > 1 << 24, heddle::toString);
        assertFalse(mlp.has("losses_agree_steps"), "nobody to agree with");
        assertTrue(out.toString().contains("mlp"), out::toString);
    }

    @Test
    void lossesThatDifferAreNoticed() {
        Comparison.Side heddle = new Comparison.Side("heddle", "heddle", "f32");
        Comparison.Side djl = new Comparison.Side("djl", "djl", "f32");
        double[] ours = {5.7, 5.6, 5.5};
        assertNull(Comparison.difference(Workload.GPT, heddle, ours, djl, new double[] {5.7, 5.61, 5.49}));
        assertEquals("the losses of heddle and djl differ in step 2: 5.5 and 5.8",
                Comparison.difference(Workload.GPT, heddle, ours, djl, new double[] {5.7, 5.6, 5.8}));
        assertEquals("the losses of heddle and djl differ in step 1: 5.6 and NaN",
                Comparison.difference(Workload.GPT, heddle, ours, djl, new double[] {5.7, Double.NaN, Double.NaN}));
    }

    @Test
    void tableHasGeometricMeans() throws Exception {
        String table = TrainCommand.table(new ObjectMapper().readTree("""
                {"a": {"sample": "images", "heddle": {"median": 40, "peak_bytes": 2000000, "setting": "s"},
                       "libtorch": {"median": 10, "peak_bytes": 3000000, "setting": "t"}, "ratio_libtorch": {"median": 4}},
                 "b": {"sample": "tokens", "heddle": {"median": 10, "peak_bytes": 2000000, "setting": "s"},
                       "libtorch": {"median": 10, "peak_bytes": 3000000, "setting": "t"}, "ratio_libtorch": {"median": 1}}}"""));
        assertTrue(table.contains("Heddle / libtorch, geometric mean of 2: " + "%.2f".formatted(2.0)), table);
        assertTrue(table.lines().anyMatch(line -> line.startsWith("a") && line.contains("libtorch") && line.contains("%.2f".formatted(4.0)) && line.contains(" 3 ")), table);
    }
}
