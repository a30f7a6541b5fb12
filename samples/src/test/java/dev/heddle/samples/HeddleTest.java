// The command line as a user meets it: results, files, exit statuses, messages.
package dev.heddle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.testing.NoLeaks;
import dev.heddle.training.DatasetException;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class HeddleTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    @TempDir
    private Path folder;

    private int heddle(String... arguments) {
        return Heddle.commandLine().setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true)).execute(arguments);
    }

    private void assertOneLine(String... parts) {
        String message = err.toString().strip();
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
        assertFalse(message.contains("\tat "), message);
    }

    @Test
    void xorIsLearned() throws IOException {
        assertEquals(0, heddle("train", "xor", "--device", "cpu", "--out", folder.toString(), "--json"), err.toString());
        JsonNode json = new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
        assertEquals(1, json.get("test_accuracy").asDouble());
        for (String key : new String[] {"samples_per_second", "train_loss", "peak_bytes", "device", "seed", "epochs", "seconds"}) {
            assertTrue(json.has(key), key);
        }
        assertEquals(900, ImageIO.read(folder.resolve("loss.png").toFile()).getWidth());
        assertEquals(3 * 44, ImageIO.read(folder.resolve("confusion.png").toFile()).getWidth());
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(3, files.count()); // nothing temporary is left
        }
    }

    @Test
    void aRunOnLocalDataCanBeUsedForPrediction() throws IOException {
        Path data = Files.createDirectory(folder.resolve("data"));
        for (String part : new String[] {"train", "t10k"}) {
            int n = part.equals("train") ? 256 : 64;
            byte[] labels = new byte[n];
            byte[] pixels = new byte[n * 784];
            Random random = new Random(n);
            for (int i = 0; i < n; i++) { // a bright row says the digit
                labels[i] = (byte) random.nextInt(10);
                java.util.Arrays.fill(pixels, i * 784 + labels[i] * 56, i * 784 + labels[i] * 56 + 56, (byte) 255);
            }
            idx(data.resolve(part + "-labels-idx1-ubyte"), labels, n);
            idx(data.resolve(part + "-images-idx3-ubyte"), pixels, n, 28, 28);
        }
        Path run = folder.resolve("run");
        assertEquals(0, heddle("train", "digits-mlp", "--data", data.toString(), "--out", run.toString(), "--epochs", "4", "--device", "cpu"),
                err.toString());
        assertTrue(out.toString().contains("test accuracy 1.0000"), out.toString());
        assertTrue(ImageIO.read(run.resolve("worst.png").toFile()).getWidth() > 0);
        BufferedImage image = new BufferedImage(28, 28, BufferedImage.TYPE_BYTE_GRAY);
        for (int i = 0; i < 56; i++) {
            image.getRaster().setSample(i % 28, 3 * 2 + i / 28, 0, 255);
        }
        Path three = folder.resolve("three.png");
        ImageIO.write(image, "png", three.toFile());
        assertEquals(0, heddle("predict", "--model", run.resolve("model.safetensors").toString(), three.toString()), err.toString());
        assertTrue(out.toString().contains("three.png: 3 ("), out.toString());
        assertEquals(1, heddle("predict", "--model", run.resolve("model.safetensors").toString(), run.resolve("model.safetensors").toString()));
        assertOneLine("is no image");

        Path vit = folder.resolve("vit");
        out.getBuffer().setLength(0);
        assertEquals(0, heddle("train", "vit", "--data", data.toString(), "--out", vit.toString(), "--epochs", "3", "--batch-size", "8",
                "--device", "cpu", "--json"), err.toString());
        JsonNode json = new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
        assertTrue(json.get("test_accuracy").asDouble() > 0.4, "by chance it were 0.1: " + json);
        assertEquals(0, heddle("predict", "--model", vit.resolve("model.safetensors").toString(), three.toString()), err.toString());
        assertTrue(out.toString().contains("three.png: "), out.toString());

        byte[] whole = Files.readAllBytes(data.resolve("train-images-idx3-ubyte"));
        Files.write(data.resolve("train-images-idx3-ubyte"), java.util.Arrays.copyOf(whole, whole.length - 1));
        assertEquals(1, heddle("train", "digits-mlp", "--data", data.toString(), "--out", run.toString()));
        assertOneLine("train-images-idx3-ubyte: ends after");
    }

    private static void idx(Path file, byte[] values, int... dims) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream data = new DataOutputStream(bytes);
        data.writeInt(0x0800 | dims.length);
        for (int dim : dims) {
            data.writeInt(dim);
        }
        data.write(values);
        Files.write(file, bytes.toByteArray());
    }

    @Test
    void aGptLearnsATextAndWritesLikeIt() throws IOException {
        Path text = Files.writeString(folder.resolve("text"), "The quick brown fox jumps over the lazy dog.\n".repeat(200));
        String[] train = {"train", "gpt", "--device", "cpu", "--text", text.toString(), "--layers", "1", "--heads", "2", "--dim", "32",
            "--context", "32", "--steps", "150", "--batch-size", "8", "--lr", "0.01", "--json", "--out", folder.resolve("a").toString()};
        assertEquals(0, heddle(train), err.toString());
        JsonNode json = new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
        assertTrue(json.get("validation_loss").asDouble() < 0.5, json.toString());
        String first = out.toString();
        Path packed = folder.resolve("packed");
        assertEquals(0, heddle("data", "pack", "--text", text.toString(), "--out", packed.toString()), err.toString());
        out.getBuffer().setLength(0);
        List<String> again = new ArrayList<>(List.of(train)); // from files of tokens, the same ones
        again.set(again.indexOf("--text"), "--data");
        again.set(again.indexOf("--data") + 1, packed.toString());
        again.set(again.size() - 1, folder.resolve("b").toString());
        assertEquals(0, heddle(again.toArray(new String[0])), err.toString());
        assertEquals(first.lines().findFirst(), out.toString().lines().findFirst(), "same seed, same text");
        assertEquals(-1, Files.mismatch(folder.resolve("a/model.safetensors"), folder.resolve("b/model.safetensors")));
        assertEquals(1, heddle("data", "pack", "--text", text.toString(), "--out", packed.toString()));
        assertOneLine("is there already");
        out.getBuffer().setLength(0);
        String model = folder.resolve("a/model.safetensors").toString();
        assertEquals(0, heddle("generate", "The quick", "--model", model, "--device", "cpu", "--temperature", "0", "--count", "60"), err.toString());
        assertTrue(out.toString().startsWith("The quick brown fox"), out.toString());
        for (String precision : List.of("bf16", "f16")) {
            out.getBuffer().setLength(0);
            List<String> half = new ArrayList<>(again);
            half.set(half.indexOf("--steps") + 1, "40");
            half.set(half.indexOf("--batch-size") + 1, "4");
            half.addAll(List.of("--accumulate", "2", "--precision", precision));
            assertEquals(0, heddle(half.toArray(new String[0])), err.toString());
            JsonNode other = new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
            assertEquals(precision, other.get("precision").asText());
            assertTrue(other.get("validation_loss").asDouble() < 2.2, other.toString()); // 3.3 at first
        }
        assertEquals(1, heddle("generate", "--model", model, "--device", "cpu", "--top-p", "2"));
        assertOneLine("top-p 2.0");
        assertEquals(1, heddle("train", "gpt", "--device", "cpu", "--text", folder.resolve("none").toString(), "--out", folder.toString()));
        assertOneLine("cannot be read as UTF-8 text");
        assertEquals(2, heddle("train"));
        assertOneLine("Missing required parameter: 'TASK'");
    }

    @Test
    void aGptThatWasStoppedGoesOn() throws IOException {
        Path text = Files.writeString(folder.resolve("text"), "The quick brown fox jumps over the lazy dog.\n".repeat(200));
        List<String> train = new ArrayList<>(List.of("train", "gpt", "--device", "cpu", "--text", text.toString(), "--layers", "1", "--heads", "2",
                "--dim", "16", "--context", "16", "--steps", "110", "--batch-size", "2", "--accumulate", "2", "--dropout", "0.1", "--save-every", "60",
                "--out", folder.resolve("whole").toString()));
        assertEquals(0, heddle(train.toArray(new String[0])), err.toString());
        train.set(train.size() - 1, folder.resolve("stopped").toString());
        StringWriter plugPulled = new StringWriter() {
            @Override
            public void write(String part, int from, int length) {
                super.write(part, from, length);
                if (toString().endsWith("step 100/110: loss ")) { // behind the checkpoint at 60
                    throw new IllegalStateException("stopped");
                }
            }
        };
        assertEquals(1, Heddle.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(plugPulled)).execute(train.toArray(new String[0])));
        assertFalse(Files.exists(folder.resolve("stopped/model.safetensors")));
        train.add("--resume");
        assertEquals(0, heddle(train.toArray(new String[0])), err.toString());
        assertEquals(-1, Files.mismatch(folder.resolve("whole/model.safetensors"), folder.resolve("stopped/model.safetensors")));
        assertEquals(1, heddle(train.toArray(new String[0])));
        assertOneLine("has 110 of 110 steps behind it");
        train.set(train.indexOf("--dropout") + 1, "0.2");
        assertEquals(1, heddle(train.toArray(new String[0])));
        assertOneLine("was made by another run", "dropout 0.1", "dropout 0.2");
    }

    @Test
    void textsArePackedAsGpt2Tokens() throws IOException {
        Path texts = Files.createDirectories(folder.resolve("texts/below"));
        Files.writeString(texts.resolve("b"), "Grüße 世界! ".repeat(40));
        Files.writeString(folder.resolve("texts/z"), "x".repeat(400));
        Path packed = folder.resolve("packed");
        assertEquals(0, heddle("data", "pack", "--text", folder.resolve("texts").toString(), "--out", packed.toString(), "--tokenizer", "gpt2",
                "--validation", "0.25"), err.toString());
        dev.heddle.training.TokenShards shards = dev.heddle.training.TokenShards.open(packed, "train");
        assertEquals("gpt2", shards.tokenizer());
        assertEquals(0, heddle("train", "gpt", "--device", "cpu", "--data", packed.toString(), "--layers", "1", "--heads", "1", "--dim", "8", "--context",
                "16", "--steps", "3", "--batch-size", "2", "--recompute", "--out", folder.resolve("run").toString()), err.toString());
        assertTrue(out.toString().contains("nats a token"), out.toString());
        assertEquals(0, heddle("generate", "Grüße", "--model", folder.resolve("run/model.safetensors").toString(), "--device", "cpu", "--count", "3"),
                err.toString());
        assertTrue(out.toString().contains("Grüße"), out.toString());
        assertEquals(1, heddle("data", "pack", "--text", folder.resolve("none").toString(), "--out", folder.resolve("other").toString()));
        assertOneLine("none");
        assertEquals(2, heddle("data"));
        assertOneLine("Missing required subcommand");
    }

    @Test
    void anLstmLearnsATextAndWritesLikeIt() throws IOException {
        Path text = Files.writeString(folder.resolve("text"), "The quick brown fox jumps over the lazy dog.\n".repeat(200));
        String[] train = {"train", "lstm", "--device", "cpu", "--text", text.toString(), "--layers", "1", "--dim", "32", "--context", "32",
            "--steps", "150", "--batch-size", "8", "--lr", "0.02", "--json", "--out", folder.resolve("a").toString()};
        assertEquals(0, heddle(train), err.toString());
        JsonNode json = new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
        assertTrue(json.get("validation_loss").asDouble() < 0.5, json.toString());
        train[train.length - 1] = folder.resolve("b").toString();
        assertEquals(0, heddle(train), err.toString());
        assertEquals(-1, Files.mismatch(folder.resolve("a/model.safetensors"), folder.resolve("b/model.safetensors")), "same seed, same model");
        out.getBuffer().setLength(0);
        String model = folder.resolve("a/model.safetensors").toString();
        assertEquals(0, heddle("generate", "The quick", "--model", model, "--device", "cpu", "--temperature", "0", "--count", "60"), err.toString());
        assertTrue(out.toString().startsWith("The quick brown fox jumps over the lazy dog.\nThe quick"), out.toString());
        assertEquals(1, heddle("train", "lstm", "--dim", "0"));
        assertOneLine("--dim 0");
    }

    @Test
    void aSeriesIsForecastBetterThanByRepeatingIt() throws IOException {
        Random random = new Random(1);
        StringBuilder csv = new StringBuilder("step,other,level\n");
        for (int t = 0; t < 300; t++) {
            csv.append(t).append(",x,").append(0.1 * t + 5 * Math.sin(t * Math.PI / 6) + 0.1 * random.nextGaussian()).append('\n');
        }
        Path data = Files.writeString(folder.resolve("series.csv"), csv);
        assertEquals(0, heddle("train", "forecast", "--device", "cpu", "--data", data.toString(), "--column", "level", "--window", "13", "--dim", "12",
                "--epochs", "20", "--json", "--out", folder.resolve("run").toString()), err.toString());
        JsonNode json = new ObjectMapper().readTree(out.toString().strip().lines().reduce((a, b) -> b).orElseThrow());
        assertTrue(json.get("test_rmse").asDouble() < 0.3 * json.get("naive_rmse").asDouble(), json.toString());
        assertEquals(900, ImageIO.read(folder.resolve("run/forecast.png").toFile()).getWidth());
        assertEquals(1, heddle("train", "forecast", "--data", data.toString(), "--column", "none", "--out", folder.toString()));
        assertOneLine("no column 'none' among [step, other, level]");
        err.getBuffer().setLength(0);
        assertEquals(1, heddle("train", "forecast", "--data", data.toString(), "--column", "other", "--out", folder.toString()));
        assertOneLine("line 2 has no number in column 'other'");
        err.getBuffer().setLength(0);
        assertEquals(1, heddle("train", "forecast", "--data", data.toString(), "--window", "250", "--out", folder.toString()));
        assertOneLine("is too short for --window 250");
    }

    @Test
    void whatMakesNoSenseIsSaid() throws IOException {
        assertEquals(2, heddle("train", "xor", "--colour"));
        assertOneLine("Unknown option: '--colour'");
        assertEquals(2, heddle("train", "cifar"));
        assertOneLine("'cifar' is none of [mnist");
        assertEquals(1, heddle("train", "xor", "--epochs", "0"));
        assertOneLine("--epochs 0");
        assertEquals(1, heddle("train", "xor", "--device", "cuda:1"));
        assertOneLine("device cuda:1 cannot be used");
        assertEquals(1, heddle("train", "xor", "--device", "tpu"));
        assertOneLine("'tpu'");
        assertEquals(1, heddle("train", "mnist", "--data", folder.toString(), "--out", folder.resolve("run").toString()));
        assertOneLine("train-images-idx3-ubyte", "is not there");
        Path file = Files.writeString(folder.resolve("file"), "");
        assertEquals(1, heddle("train", "xor", "--out", file.resolve("run").toString()));
        assertOneLine("output folder", "cannot be written");
        assertEquals(1, heddle("predict", "--model", file.toString(), file.toString()));
        assertOneLine("no safetensors file");
        assertEquals(1, heddle("train", "xor", "--lr", "3e38", "--out", folder.resolve("nan").toString()));
        assertOneLine("the loss was");
        assertFalse(Files.exists(folder.resolve("nan/model.safetensors")));
    }

    @Test
    void dataThatCannotBeFetchedIsExplained() {
        Path cache = folder.resolve("cache");
        String message = assertThrows(DatasetException.class, () -> MnistData.of("nowhere").fill(cache)).getMessage();
        assertTrue(message.contains("could not be fetched") && message.contains("train-images-idx3-ubyte") && message.contains(cache.toString())
                && message.contains("--data"), message);
    }

    @Test
    void devicesAreListed() {
        assertEquals(0, heddle("devices"));
        assertTrue(out.toString().contains("oneDNN") && out.toString().contains("libcuda.so.1"), out.toString());
    }
}
