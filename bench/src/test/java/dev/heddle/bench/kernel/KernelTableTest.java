package dev.heddle.bench.kernel;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelTableTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    // 120 kB: at 10 us 12 GB/s
    private static final String FIRST = """
            {"bytes": 120000, "flops": 0, "dtype": "F32", "digest": "4,1.0,2.0", "error": 1e-7, "runs": 30, "batches": 7, "slowdown": [1, 1.2, 1], "us": [10, 12, 8], "host_us": [1, 1, 1],
             "ordinary_copy_gb_per_s": [24, 20, 10], "libtorch_us": [20, 18, 8], "libtorch_layout": "NCHW",
             "ceilings": {"copy_gb_per_s": 50, "ordinary_copy_gb_per_s": 30}}""";
    private static final String SECOND = """
            {"bytes": 120000, "flops": 0, "dtype": "F32", "digest": "4,1.0,2.0", "runs": 15, "batches": 3, "slowdown": [1.3, 1.4, 1.5], "us": [20, 15, 30], "host_us": [2, 2, 2],
             "ordinary_copy_gb_per_s": [12, 16, 40], "libtorch_us": [20, 30, 15], "libtorch_layout": "channels-last",
             "ceilings": {"copy_gb_per_s": 40, "ordinary_copy_gb_per_s": 33}}""";
    private final ByteArrayOutputStream printed = new ByteArrayOutputStream();

    private static ObjectNode json(String text) {
        try {
            return (ObjectNode) JSON.readTree(text);
        } catch (JsonProcessingException e) {
            throw new AssertionError(e);
        }
    }

    private KernelTable table(Path file, int forks) {
        KernelTable table = new KernelTable(new PrintStream(printed, true), file, forks);
        table.begin(json("{\"what\": \"kernels\", \"machine\": {\"device\": \"cpu\"}, \"peers\": {\"libtorch\": \"2\"}}"));
        return table;
    }

    @Test
    void aRowHasTheBatchesOfAllProcesses(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("kernels.json");
        KernelTable table = table(file, 2);
        assertNull(table.known("gelu"), "the first process has nothing to compare with");
        table.add("gelu", json(FIRST));
        assertEquals(1, printed.toString().lines().count(), "a row before the last process: " + printed);
        assertEquals(10, JSON.readTree(file.toFile()).get("cases").get("gelu").get("us").asDouble(), "what there is so far");
        table.begin(json("{\"what\": \"other\"}"));
        assertEquals(new Digest(4, 1, 2), table.known("gelu"));
        table.add("gelu", json(SECOND));
        ObjectNode results = table.end();
        assertEquals(results, JSON.readTree(Files.readAllBytes(file)));
        assertEquals("kernels", results.get("what").asText());
        assertEquals(json("{\"copy_gb_per_s\": 50.0, \"ordinary_copy_gb_per_s\": 33.0}"), results.get("ceilings"), "the best of any process");
        JsonNode row = results.get("cases").get("gelu");
        assertEquals(13.5, row.get("us").asDouble(), 1e-12); // of 8 10 12 15 20 30
        assertEquals(8, row.get("us_min").asDouble());
        assertEquals(30, row.get("us_max").asDouble());
        assertEquals("[10.0,20.0]", row.get("fork_us").toString());
        assertEquals(45, row.get("runs").asInt());
        assertEquals(1.5, row.get("host_us").asDouble());
        assertEquals(10, row.get("batches").asInt());
        assertEquals(1.25, row.get("slowdown").asDouble(), 1e-12);
        assertEquals(1e-7, row.get("error").asDouble());
        assertEquals(120 / 13.5, row.get("gb_per_s").asDouble(), 1e-9);
        assertEquals(100 * 120 / 13.5 / 50, row.get("percent_of_ceiling").asDouble(), 1e-9);
        assertEquals("copy", row.get("ceiling").asText());
        assertEquals(18, row.get("ordinary_copy_gb_per_s").asDouble(), 1e-12);
        assertEquals(48.75, row.get("percent_of_copy").asDouble(), 1e-9); // of 12/20 and 6/16, medians of the processes
        assertEquals(1.25, row.get("ratio").asDouble(), 1e-12); // of 2, 1.5, 1, 1, 2, 0.5; of the medians 1.41
        assertEquals(0.5, row.get("ratio_min").asDouble());
        assertEquals(2, row.get("ratio_max").asDouble());
        assertEquals("[1.5,1.0]", row.get("fork_ratio").toString());
        assertEquals(19, row.get("libtorch_us").asDouble());
        assertEquals("NCHW/channels-last", row.get("libtorch_layout").asText());
        String line = printed.toString().lines().toList().get(1);
        assertTrue(line.matches("gelu +13.5 +8.0 - +30.0 +8.9 +0.0 +18 copy +49 +1.25 +19.0 +1.25 \\(0.50 - 2.00\\) NCHW/channels-last"), line);
        assertFalse(KernelTable.anyFailed(results));
    }

    @Test
    void whatFailsInOneProcessFails() throws IOException {
        KernelTable table = table(null, 2);
        table.add("gelu", json(FIRST));
        assertFalse(table.failed("gelu") || table.failed("another"));
        table.add("gelu", json("{\"failure\": \"wrong result\", \"ceilings\": {}}"));
        assertTrue(table.failed("gelu"));
        ObjectNode results = table.end();
        assertTrue(KernelTable.anyFailed(results));
        assertEquals(json("{\"error\": 1e-7, \"failure\": \"in process 2: wrong result\"}"), results.get("cases").get("gelu"));
        assertTrue(printed.toString().contains("FAILED: in process 2: wrong result"), printed.toString());
    }

    @Test
    void productsHaveTheirDtypesCeilingAndNoCopyBeside() throws IOException {
        KernelTable table = table(null, 1);
        table.add("matmul", json("""
                {"bytes": 1000, "flops": 2e6, "dtype": "BF16", "digest": "null", "runs": 1, "batches": 1, "slowdown": [1], "us": [10], "host_us": [1],
                 "ceilings": {"copy_gb_per_s": 50, "matmul_gflop_per_s": 100, "matmul_bf16_gflop_per_s": 400}}"""));
        JsonNode row = table.end().get("cases").get("matmul");
        assertEquals("matmul", row.get("ceiling").asText());
        assertEquals(50, row.get("percent_of_ceiling").asDouble(), 1e-9); // 200 of 400 GFLOP/s
        assertFalse(row.has("percent_of_copy") || row.has("ratio"));
        assertTrue(printed.toString().contains("product BF16 400 GFLOP/s"), printed.toString());
    }

    @Test
    void digestsTellNumbersApart() {
        Digest digest = Digest.of(new double[] {1, -2, 2});
        assertEquals(new Digest(3, 1, Math.sqrt(3)), digest);
        assertEquals(digest, Digest.parse(digest.toString()));
        assertTrue(digest.agrees(Digest.of(new double[] {1.0001, -2, 2}), 1e-3));
        assertFalse(digest.agrees(Digest.of(new double[] {1.1, -2, 2}), 1e-3));
        assertFalse(digest.agrees(Digest.of(new double[] {1, 2, 2}), 1e-3), "another sum");
        assertFalse(digest.agrees(Digest.of(new double[] {1, -2, 2, 0}), 1e-3), "another count");
        assertFalse(digest.agrees(Digest.of(new double[] {1, -2, Double.NaN}), 1e-3));
    }
}
