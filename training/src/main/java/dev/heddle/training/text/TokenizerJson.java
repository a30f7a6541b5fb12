// Tokenizers that come with a model: WordPiece of BERT and any other that Hugging Face writes to tokenizer.json.
package dev.heddle.training.text;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import dev.heddle.training.CheckpointException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;

/**
 * A {@code tokenizer.json}, run by Hugging Face's library through {@code ai.djl.huggingface:tokenizers}, whose native code comes in
 * its jar (Linux, macOS on ARM, Windows) and is unpacked below {@code ~/.djl.ai}. Close it to return native memory.
 *
 * <p>That library fetches another build where it sees a GPU, and tells its makers about uses on their cloud, unless it is set to
 * be offline; this class does so by setting {@code ai.djl.offline=true} where that property has no value.
 */
public final class TokenizerJson implements Tokenizer, AutoCloseable {
    private static final String OFFLINE = "ai.djl.offline";

    private final HuggingFaceTokenizer tokenizer;

    /**
     * Reads a file.
     *
     * @param longest tokens of a text, those around it included; what is behind is cut off
     * @throws CheckpointException if it cannot be read or is no tokenizer
     */
    public TokenizerJson(Path file, int longest) {
        if (System.getProperty(OFFLINE) == null) {
            System.setProperty(OFFLINE, "true");
        }
        Map<String, String> options = Map.of("padding", "false", "truncation", "true", "maxLength", Integer.toString(longest));
        try (var json = Files.newInputStream(file)) {
            tokenizer = HuggingFaceTokenizer.newInstance(json, options);
        } catch (IOException | RuntimeException e) {
            throw new CheckpointException(file + ": cannot be read as a tokenizer: " + e.getMessage(), e);
        }
    }

    @Override
    public int[] encode(String text) {
        String wellFormed = new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8); // no half characters
        return Arrays.stream(tokenizer.encode(wellFormed).getIds()).mapToInt(Math::toIntExact).toArray();
    }

    @Override
    public String decode(int... tokens) {
        return tokenizer.decode(Arrays.stream(tokens).asLongStream().toArray(), true);
    }

    @Override
    public void close() {
        tokenizer.close();
    }
}
