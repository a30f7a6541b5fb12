// Tokens as published: of BERT's vocabulary and GPT-2's, there and back.
package dev.heddle.training.text;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.testing.NoLeaks;
import dev.heddle.training.CheckpointException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class TokenizerTest {
    @TempDir
    private Path folder;

    private Path miniLm() throws IOException {
        Path file = folder.resolve("tokenizer.json");
        try (InputStream in = TokenizerTest.class.getResourceAsStream("/all-minilm-l6-v2-tokenizer.json")) {
            Files.copy(in, file);
        }
        return file;
    }

    @Test
    void wordPiecesOfBert() throws IOException {
        try (TokenizerJson tokenizer = new TokenizerJson(miniLm(), 8)) {
            assertArrayEquals(new int[] {101, 7592, 2088, 999, 102}, tokenizer.encode("Hello, world!".replace(",", "")));
            assertArrayEquals(new int[] {101, 7592, 1010, 2088, 999, 102}, tokenizer.encode("Hello, world!"));
            assertEquals("hello, world!", tokenizer.decode(101, 7592, 1010, 2088, 999, 102));
            assertArrayEquals(new int[] {101, 102}, tokenizer.encode(""));
            assertArrayEquals(tokenizer.encode("cafe"), tokenizer.encode("CAFÉ"), "no accents, no capitals");
            int[] cut = tokenizer.encode("one two three four five six seven eight nine");
            assertEquals(8, cut.length);
            assertEquals(102, cut[7], "a text that is cut off ends as others do");
            assertTrue(tokenizer.encode("\uD83D").length >= 2, "half a character");
        }
    }

    @Test
    void whatIsNoTokenizerIsRefused() throws IOException {
        for (Path file : List.of(folder.resolve("missing"), Files.writeString(folder.resolve("text"), "no tokenizer"),
                Files.writeString(folder.resolve("json"), "{}"))) {
            String message = assertThrows(CheckpointException.class, () -> new TokenizerJson(file, 8)).getMessage();
            assertTrue(message.contains(file.toString()), message);
        }
    }

    @Test
    void bytePairsOfGpt2() {
        Gpt2Tokenizer tokenizer = new Gpt2Tokenizer();
        assertArrayEquals(new int[] {15496, 11, 995, 0}, tokenizer.encode("Hello, world!"));
        for (String text : new String[] {"", " ", "\n\n", "Ünïcödé 字 😀", "<|endoftext|>", "public static void main(String[] args) {\n    \n}"}) {
            int[] tokens = tokenizer.encode(text);
            assertEquals(text, tokenizer.decode(tokens));
            assertTrue(Arrays.stream(tokens).allMatch(t -> t >= 0 && t < Gpt2Tokenizer.SIZE - 1), text);
        }
        assertEquals("a", tokenizer.decode(64, Gpt2Tokenizer.END_OF_TEXT));
    }

    @Test
    void sequencesSideBySide() {
        try (TokenBatch batch = TokenBatch.of(List.of(new int[] {1, 2, 3}, new int[] {}, new int[] {4}), 512, 9)) {
            assertArrayEquals(new long[] {3, 16}, batch.tokens().shape().dims());
            long[] expected = new long[48];
            Arrays.fill(expected, 9);
            expected[0] = 1;
            expected[1] = 2;
            expected[2] = 3;
            expected[32] = 4;
            assertArrayEquals(expected, batch.tokens().toLongArray());
            assertArrayEquals(new long[] {3, 0, 1}, batch.lengths().toLongArray());
        }
        try (TokenBatch batch = TokenBatch.of(List.of(new int[17]), 20, 0)) {
            assertEquals(20, batch.tokens().dim(1));
        }
        assertThrows(IllegalArgumentException.class, () -> TokenBatch.of(List.of(new int[21]), 20, 0));
    }
}
