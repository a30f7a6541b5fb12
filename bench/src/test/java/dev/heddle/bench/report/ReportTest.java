package dev.heddle.bench.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import picocli.CommandLine;

class ReportTest {
    private static final String HOSTILE = "a </td><script src='http://x/y.js'>\"alert(1)\"</script> & b\u0001";
    private static final String MACHINE = """
            "machine": {"date": "2026-11-21", "commit": "abc123", "device": "cpu", "cpu": "CPU", "processors": 2, "gpu": {"driver": "13.1"}}""";
    private static final String TRAIN = """
            {"what": "train", MACHINE, "peers": {"libtorch": "2.10, MKL", "djl": "0.38"}, "workloads": {
              "mlp": {"batch": 128, "sample": "images", "precision": "f32",
                "heddle": {"median": 54000.4, "min": 1, "max": 2, "peak_bytes": 400000000},
                "libtorch": {"median": 45000, "min": 1, "max": 2, "peak_bytes": 340000000, "setting": "MKL"},
                "djl": {"median": 27000, "min": 1, "max": 2, "peak_bytes": 500000000},
                "ratio_libtorch": {"median": 1.2, "min": 1.1, "max": 1.3}, "ratio_djl": {"median": 2.0, "min": 1.9, "max": 2.1}},
              "gpt": {"batch": 16, "sample": "tokens", "precision": "f32", "description": "GPT | 4x256",
                "heddle": {"median": 8000, "min": 1, "max": 2, "peak_bytes": 450000000},
                "libtorch": {"median": 10000, "min": 1, "max": 2, "peak_bytes": 660000000},
                "ratio_libtorch": {"median": 0.8, "min": 0.7, "max": 0.9}}}}""".replace("MACHINE", MACHINE);
    private static final String KERNELS = """
            {"what": "kernels", MACHINE, "peers": {"libtorch": "2.10"}, "ceilings": {"copy_gb_per_s": 20, "matmul_gflop_per_s": 300,
              "matmul_bf16_gflop_per_s": 600}, "cases": {
              "softmax f32 64x64": {"us": 10, "us_min": 9, "us_max": 12, "bytes": 32768, "flops": 0, "gb_per_s": 3.3, "gflop_per_s": 0,
                "percent_of_ceiling": 16, "ceiling": "copy", "error": 1e-7},
              "matmul f32 64x64x64": {"us": 2, "us_min": 1, "us_max": 3, "bytes": 49152, "flops": 524288, "gb_per_s": 24.6, "gflop_per_s": 262,
                "percent_of_ceiling": 87, "ceiling": "matmul", "error": 1e-7, "libtorch_us": 3, "ratio": 1.5},
              "conv f32 1x1x1x1": {"failure": "wrong result"}}}""".replace("MACHINE", MACHINE);
    private static final String SCALING = """
            {"what": "scaling", MACHINE, "series": [
              {"model": "gpt", "axis": "batch", "base": {"batch": 4, "width": 128}, "points": [
                {"value": 1, "ms": 2, "ms_q1": 1.8, "ms_q3": 2.2, "ms_min": 1.7, "ms_max": 3, "settled": true, "warm_up_s": 2, "peak_bytes": 1000000},
                {"value": 2, "ms": 4, "ms_q1": 3.5, "ms_q3": 6, "ms_min": 3, "ms_max": 9, "settled": false, "warm_up_s": 15.2, "peak_bytes": 1500000}], "slope_time": 1.0, "slope_memory": 0.58},
              {"model": "mlp", "axis": "batch", "base": {}, "points": [
                {"value": 1, "ms": 1, "ms_q1": 1, "ms_q3": 1, "ms_min": 1, "ms_max": 1, "settled": true, "warm_up_s": 2, "peak_bytes": 1000000},
                {"value": 4, "ms": 2, "ms_q1": 2, "ms_q3": 2, "ms_min": 2, "ms_max": 2, "settled": true, "warm_up_s": 2, "peak_bytes": 4000000}], "slope_time": 0.5, "slope_memory": 1.0}],
             "startup": {"gpt": {"jvm_ms": 80, "first_step_ms": 900, "second_step_takes_ms": 3}},
             "plan_cache_miss": {"gpt": {"hit_ms": 2, "miss_ms": 30, "plan_ms": 28}}}""".replace("MACHINE", MACHINE);
    private static final String JMH = """
            {"what": "jmh", MACHINE, "benchmarks": [
              {"benchmark": "a.b.SoftmaxBenchmark.softmax", "mode": "avgt", "forks": 1, "measurementIterations": 5, "params": {"shape": "8x16"},
                "primaryMetric": {"score": 123.46, "scoreError": 1.2346, "scoreUnit": "us/op"}},
              {"benchmark": "a.b.SoftmaxBenchmark.softmax", "mode": "avgt", "forks": 1, "measurementIterations": 5, "params": {"shape": "2x4"},
                "primaryMetric": {"score": 7.5, "scoreError": 0.1, "scoreUnit": "us/op"}},
              {"benchmark": "a.b.SoftmaxBenchmark.logSoftmax", "mode": "avgt", "forks": 1, "measurementIterations": 5, "params": {"shape": "2x4"},
                "primaryMetric": {"score": 8, "scoreError": 0.1, "scoreUnit": "us/op"}},
              {"benchmark": "a.b.StepBenchmark.step", "mode": "thrpt", "forks": 2, "measurementIterations": 1,
                "primaryMetric": {"score": 54000, "scoreError": "NaN", "scoreUnit": "ops/s"}}]}""".replace("MACHINE", MACHINE);

    @TempDir
    private Path folder;
    private final List<String> skipped = new ArrayList<>();

    @BeforeAll
    static void needsNoScreen() {
        System.setProperty("java.awt.headless", "true");
    }

    private Result result(String name, String json) throws IOException {
        return Result.read(Files.writeString(folder.resolve(name), json), skipped::add).orElseThrow();
    }

    private static Document parse(Page page) throws Exception {
        return DocumentBuilderFactory.newInstance().newDocumentBuilder()
                .parse(new ByteArrayInputStream(page.html().getBytes(StandardCharsets.UTF_8)));
    }

    private static List<String> texts(Document document, String element) {
        NodeList nodes = document.getElementsByTagName(element);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < nodes.getLength(); i++) {
            texts.add(nodes.item(i).getTextContent());
        }
        return texts;
    }

    @Test
    void aPageNeedsNothingElse() throws Exception {
        Page page = ReportCommand.page(List.of(result("train.json", TRAIN), result("kernels.json", KERNELS), result("scaling.json", SCALING),
                result("jmh.json", JMH)));
        Document document = parse(page);
        assertTrue(texts(document, "h2").getFirst().startsWith("Training"), texts(document, "h2").toString());
        for (String element : List.of("script", "link", "a", "iframe", "object", "base")) {
            assertEquals(0, document.getElementsByTagName(element).getLength(), element);
        }
        assertFalse(page.html().contains("url(") || page.html().contains("@import") || page.html().contains("http"), "something to be fetched");
        NodeList images = document.getElementsByTagName("img");
        assertEquals(List.of("train-ratios.png", "train-memory.png", "kernels-roofline.png", "kernels-ceilings.png", "kernels-ratios.png",
                "scaling-batch-time.png", "scaling-batch-memory.png", "jmh-SoftmaxBenchmark-us_op.png"), List.copyOf(page.figures().keySet()));
        assertEquals(page.figures().size(), images.getLength());
        int i = 0;
        for (byte[] png : page.figures().values()) {
            String source = ((Element) images.item(i++)).getAttribute("src");
            assertEquals("data:image/png;base64," + Base64.getEncoder().encodeToString(png), source);
            BufferedImage image = ImageIO.read(new ByteArrayInputStream(png));
            assertTrue(image.getWidth() >= 500 && image.getHeight() >= 400);
        }
    }

    @Test
    void aPageHasTheNumbersAndWhereTheyAreFrom() throws Exception {
        Document document = parse(ReportCommand.page(List.of(result("train.json", TRAIN), result("kernels.json", KERNELS), result("s.json", SCALING))));
        List<String> cells = texts(document, "td");
        for (String text : List.of("54,000 images", "45,000 (MKL)", "1.20", "1.10 - 1.30", "400", "abc123", "2026-11-21", "13.1", "262.0", "87",
                "failed: wrong result", "0.58", "900.0", "28.0", "1.800 - 2.200", "3.000 - 9.000",
                "did not settle in 15 s")) {
            assertTrue(cells.contains(text), text + " in " + cells);
        }
        // sqrt(1.2 * 0.8) = 0.98
        assertTrue(texts(document, "p").contains("Geometric mean of the ratios to libtorch: 0.98"), texts(document, "p").toString());
    }

    @Test
    void kernelsAreSetBesideTheCopyOfTheirMoment() throws Exception {
        String now = KERNELS.replace("\"ceiling\": \"copy\",", "\"ceiling\": \"copy\", \"percent_of_copy\": 77.4,")
                .replace("\"ratio\": 1.5", "\"ratio\": 1.5, \"ratio_min\": 1.25, \"ratio_max\": 1.75");
        Document document = parse(ReportCommand.page(List.of(result("kernels.json", now))));
        assertTrue(texts(document, "th").contains("% of copy beside it"));
        assertTrue(texts(document, "td").containsAll(List.of("77", "1.25 - 1.75")), texts(document, "td").toString());
        Document older = parse(ReportCommand.page(List.of(result("older.json", KERNELS)))); // without these fields
        assertTrue(texts(older, "td").contains("1.50") && !texts(older, "td").contains("77"), texts(older, "td").toString());
    }

    @Test
    void aSecondRunIsComparedWithTheFirst() throws Exception {
        String kernels = KERNELS.replace("\"ratio\": 1.5", "\"ratio\": 1.5, \"ratio_min\": 1.2, \"ratio_max\": 2");
        Path first = Files.writeString(folder.resolve("a.json"), kernels);
        Path second = Files.writeString(folder.resolve("b.json"), kernels.replace("\"us\": 10, \"us_min\": 9", "\"us\": 11, \"us_min\": 10.5")); // 10 is not within
        Path third = Files.writeString(folder.resolve("c.json"), kernels.replace("\"cpu\": \"CPU\"", "\"cpu\": \"another\""));
        StringWriter output = new StringWriter();
        CommandLine report = new CommandLine(new ReportCommand()).setOut(new PrintWriter(output));
        assertEquals(0, report.execute("--out", folder.resolve("out").toString(), first.toString(), third.toString(), second.toString()));
        List<String> lines = output.toString().lines().toList();
        assertEquals("a.json and b.json: within each other's spread lie the medians of 1 of 2 times and of 1 of 1 ratios to libtorch", lines.getFirst());
        assertTrue(lines.get(1).matches("  softmax f32 64x64 +10.0 \\(9.0 - 12.0\\) +11.0 \\(10.5 - 12.0\\) us +no"), lines.get(1));
        assertTrue(lines.get(2).matches("  matmul f32 64x64x64 +2.00 .* us +yes"), lines.get(2));
        assertTrue(lines.get(3).matches("  matmul f32 64x64x64 +1.50 \\(1.20 - 2.00\\) .* ratio +yes"), lines.get(3));
        String page = Files.readString(folder.resolve("out/report.html"));
        assertTrue(page.contains(lines.getFirst().replace("'", "&#39;")) && page.contains("<td>no</td>"));
        assertEquals(1, page.split("spread lie the medians", -1).length - 1, "another machine is not compared");
    }

    @Test
    void benchmarksOfJmhAreGroupedByClass() throws Exception {
        Result jmh = result("jmh.json", JMH);
        Document document = parse(ReportCommand.page(List.of(jmh)));
        NodeList tables = document.getElementsByTagName("table"); // the machine, and one for each class
        assertEquals(3, tables.getLength());
        assertEquals(List.of("softmax", "shape 8x16", "123.5", "± 1.2346", "us/op", "avgt", "1 x 5"), texts(document, "td").subList(12, 19));
        assertEquals(List.of("step", "", "54,000.0", "", "ops/s", "thrpt", "2 x 1"), texts(document, "td").subList(33, 40));
        assertTrue(texts(document, "th").containsAll(List.of("SoftmaxBenchmark", "StepBenchmark")), texts(document, "th").toString());
        Result broken = result("broken.json", JMH.replace("54000", "\"fast\""));
        String message = assertThrows(IllegalArgumentException.class, () -> ReportCommand.page(List.of(broken))).getMessage();
        assertTrue(message.contains("primaryMetric/score of a.b.StepBenchmark.step"), message);
    }

    @Test
    void whatStandsInResultsIsText() throws Exception {
        assertEquals("&lt;b&gt;&amp;&quot;&#39;", Page.escape("<b>&\"'"));
        ObjectNode train = (ObjectNode) new ObjectMapper().readTree(TRAIN);
        train.withObject("/machine").put("cpu", HOSTILE);
        train.withObject("/peers").put("libtorch", HOSTILE);
        train.withObject("/workloads").set(HOSTILE, train.get("workloads").get("mlp"));
        Document document = parse(ReportCommand.page(List.of(result("train.json", train.toString()))));
        assertEquals(0, document.getElementsByTagName("script").getLength());
        String seen = HOSTILE.replace('\u0001', '\uFFFD');
        assertTrue(texts(document, "td").contains(seen), texts(document, "td").toString());
        assertTrue(texts(document, "p").contains("libtorch: " + seen), texts(document, "p").toString());
    }

    @Test
    void sidesWithoutAVersionOfTheirOwnAreComparedToo() throws Exception {
        Page page = ReportCommand.page(List.of(result("train.json", TRAIN.replace("ratio_djl", "ratio_heddle_f32").replace("\"djl\": {", "\"heddle_f32\": {"))));
        assertTrue(texts(parse(page), "th").contains("heddle_f32, a second"));
        assertTrue(texts(parse(page), "td").containsAll(List.of("27,000", "2.00")));
    }

    @Test
    void filesOfOtherShapesAreSkippedAndSaidSo() throws IOException {
        for (String other : List.of("{\"date\": \"2026-11-21\", \"mlp\": {}}", "[{\"benchmark\": \"jmh\"}]", "{\"what\": \"weather\", \"machine\": {}}")) {
            Path file = Files.writeString(folder.resolve("old.json"), other);
            skipped.clear();
            assertTrue(Result.read(file, skipped::add).isEmpty(), other);
            assertTrue(skipped.getFirst().startsWith(file + ": skipped"), skipped.toString());
        }
    }

    @Test
    void errorsNameTheFile() throws IOException {
        Path broken = Files.writeString(folder.resolve("broken.json"), "{\"what\": \"train\",\n  oops}");
        String message = assertThrows(IOException.class, () -> Result.read(broken, skipped::add)).getMessage();
        assertTrue(message.startsWith(broken + ": is no JSON") && message.contains("line 2"), message);
        Path missing = folder.resolve("missing.json");
        assertTrue(assertThrows(IOException.class, () -> Result.read(missing, skipped::add)).getMessage().startsWith(missing + ": cannot be read"));
        Result incomplete = result("incomplete.json", TRAIN.replace("\"median\": 54000.4,", ""));
        message = assertThrows(IllegalArgumentException.class, () -> ReportCommand.page(List.of(incomplete))).getMessage();
        assertTrue(message.startsWith(incomplete.file() + ": ") && message.contains("workloads/mlp/heddle/median"), message);
    }

    @Test
    void theReadmesTableIsReplacedBetweenItsMarks() throws IOException {
        Path readme = Files.writeString(folder.resolve("README.md"), "before\n" + ReadmeTable.BEGIN + "\nold\n" + ReadmeTable.END + "\nafter\n");
        Path train = Files.writeString(folder.resolve("train.json"), TRAIN);
        String[] arguments = {"--readme", readme.toString(), train.toString()};
        assertEquals(0, new CommandLine(new ReportCommand()).execute(arguments));
        String text = Files.readString(readme);
        assertEquals("before\n" + ReadmeTable.BEGIN + "\n\n" + """
                On 2 cores of CPU, medians of interleaved rounds; from `bench/results/train.json` (2026-11-21, commit abc123):

                | training step | Heddle, a second | libtorch, a second | ratio | djl, a second | ratio | peak memory, MB: Heddle, libtorch, djl |
                | --- | --- | --- | --- | --- | --- | --- |
                | mlp, batch 128 | 54,000 images | 45,000 (MKL) | 1.20 | 27,000 | 2.00 | 400, 340, 500 |
                | GPT \\| 4x256, batch 16 | 8,000 tokens | 10,000 | 0.80 |  |  | 450, 660, - |

                """ + ReadmeTable.END + "\nafter\n", text);
        assertEquals(0, new CommandLine(new ReportCommand()).execute(arguments));
        assertEquals(text, Files.readString(readme), "a second time");
    }

    @Test
    void theReadmesTableHasTheNewestOfEachWorkload() throws IOException {
        Result older = result("b.json", TRAIN.replace("2026-11-21", "2026-11-20").replace("54000.4", "99999"));
        Result newer = result("a.json", TRAIN.replace("\"gpt\"", "\"lstm\""));
        String table = ReadmeTable.of(List.of(newer, older));
        assertTrue(table.contains("54,000 images") && !table.contains("99,999"), table);
        assertEquals(5, table.lines().filter(line -> line.startsWith("|")).count(), table);
        assertTrue(table.contains("b.json") && table.contains("a.json"), table);
        assertFalse(ReadmeTable.of(List.of(result("c.json", TRAIN.replace("f32", "bf16")))).contains("GPT"), "not beside other precisions");
        assertThrows(IllegalArgumentException.class, () -> ReadmeTable.of(List.of()));
        assertThrows(IllegalArgumentException.class, () -> ReadmeTable.replace(ReadmeTable.END + ReadmeTable.BEGIN, table));
    }

    /** Whoever keeps a new result runs {@code heddle bench report --readme README.md}. */
    @Test
    void theProjectsReadmeHasTheTableOfTheKeptResults() throws IOException {
        List<Result> kept = new ArrayList<>();
        for (Path file : Result.list(Path.of("results"))) {
            Result.read(file, skipped::add).ifPresent(kept::add);
        }
        String readme = Files.readString(Path.of("../README.md"));
        assumeTrue(kept.stream().anyMatch(r -> r.what().equals("train")), "no results of `heddle bench train` are kept");
        assertEquals(ReadmeTable.replace(readme, ReadmeTable.of(kept)), readme, "run ./heddle bench report --readme README.md");
    }
}
