// Tokens on disk: what was written comes back, whatever the width and wherever a file ends, and damage is found.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.testing.NoLeaks;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class TokenShardsTest {
    @TempDir
    private Path folder;

    private static long[] all(TokenShards shards) {
        long[] tokens = new long[(int) shards.size()];
        shards.copy(0, tokens.length, tokens, 0);
        return tokens;
    }

    @Test
    void whatWasWrittenComesBack() {
        for (int vocabulary : new int[] {2, 1 << 16, (1 << 16) + 1, 200_000}) {
            Path file = folder.resolve("a.tokens");
            int[] tokens = new Random(vocabulary).ints(300_001, 0, vocabulary).toArray();
            tokens[0] = vocabulary - 1;
            TokenShards.write(file, tokens, 300_000, vocabulary, "größer");
            TokenShards shards = TokenShards.open(file);
            assertEquals("größer", shards.tokenizer());
            assertEquals(vocabulary, shards.vocabulary());
            assertArrayEquals(Arrays.stream(tokens).limit(300_000).asLongStream().toArray(), all(shards));
        }
        TokenShards.write(folder.resolve("empty"), new int[0], 0, 5, "");
        assertEquals(0, TokenShards.open(folder.resolve("empty")).size());
        assertThrows(IllegalArgumentException.class, () -> TokenShards.write(folder.resolve("bad"), new int[] {5}, 1, 5, ""));
        assertThrows(IllegalArgumentException.class, () -> TokenShards.write(folder.resolve("bad"), new int[] {-1}, 1, 5, ""));
        assertTrue(Files.notExists(folder.resolve("bad")), "nothing half written");
        assertEquals(2, folder.toFile().list().length, "no temporary file is left");
    }

    @Test
    void severalFilesAreOneText() {
        int[] text = IntStream.range(0, 100).toArray();
        int[] ends = {0, 30, 31, 31, 70, 100};
        for (int i = 0; i + 1 < ends.length; i++) {
            TokenShards.write(folder.resolve(TokenShards.name("train", i)), Arrays.copyOfRange(text, ends[i], ends[i + 1]), ends[i + 1] - ends[i], 100, "x");
        }
        TokenShards.write(folder.resolve(TokenShards.name("validation", 0)), text, 10, 100, "x");
        TokenShards shards = TokenShards.open(folder, "train");
        assertArrayEquals(IntStream.range(0, 100).asLongStream().toArray(), all(shards));
        assertEquals(10, TokenShards.open(folder, "validation").size());
        int[] indices = IntStream.range(0, 40).toArray();
        for (TokenDataset[] pair : new TokenDataset[][] {{TokenDataset.random(text, 45, 40), TokenDataset.random(shards, 45, 40)},
            {TokenDataset.spread(text, 7, 40), TokenDataset.spread(shards, 7, 40)}}) {
            assertEquals(pair[0].size(), pair[1].size());
            int[] some = Arrays.copyOf(indices, pair[0].size());
            try (Batch expected = pair[0].batch(some, 3); Batch actual = pair[1].batch(some, 3)) {
                assertArrayEquals(expected.input().toLongArray(), actual.input().toLongArray());
                assertArrayEquals(expected.target().toLongArray(), actual.target().toLongArray());
            }
        }
        assertThrows(IndexOutOfBoundsException.class, () -> shards.copy(99, 2, new long[2], 0));
        assertThrows(DatasetException.class, () -> TokenDataset.random(shards, 100, 1));
        assertTrue(assertThrows(DatasetException.class, () -> TokenShards.open(folder, "test")).getMessage().contains("test-00000.tokens"));
        TokenShards.write(folder.resolve(TokenShards.name("train", 9)), text, 3, 100, "y");
        assertTrue(assertThrows(DatasetException.class, () -> TokenShards.open(folder, "train")).getMessage().contains("another tokenizer"));
    }

    private void damaged(String what, Consumer<ByteBuffer> damage, int length) throws IOException {
        Path file = folder.resolve("whole");
        TokenShards.write(file, new int[] {1, 2, 3, 4}, 4, 5, "abc");
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        assertEquals(48, bytes.capacity());
        damage.accept(bytes);
        Path broken = Files.write(folder.resolve("broken"), Arrays.copyOf(bytes.array(), length));
        String message = assertThrows(DatasetException.class, () -> all(TokenShards.open(broken)), what).getMessage();
        assertTrue(message.contains("broken"), message);
    }

    @Test
    void damageIsFound() throws IOException {
        for (int length : new int[] {0, 31, 32, 39, 40, 47, 49, 50}) {
            damaged("length " + length, b -> { }, length);
        }
        damaged("magic", b -> b.put(0, (byte) 'X'), 48);
        damaged("version", b -> b.putInt(8, 2), 48);
        for (int width : new int[] {0, 1, 3, 4, -2}) {
            damaged("width " + width, b -> b.putInt(12, width), 48);
        }
        for (long count : new long[] {0, 3, 5, -4, Long.MAX_VALUE, Long.MIN_VALUE, 1L << 62}) {
            damaged("count " + count, b -> b.putLong(16, count), 48);
        }
        for (int vocabulary : new int[] {0, -1, 4}) { // the last: token 4 is none of it
            damaged("vocabulary " + vocabulary, b -> b.putInt(24, vocabulary), 48);
        }
        for (int description : new int[] {-1, 9, 1 << 20, Integer.MAX_VALUE}) {
            damaged("description " + description, b -> b.putInt(28, description), 48);
        }
        damaged("no UTF-8", b -> b.put(33, (byte) 0xff), 48);
        assertThrows(DatasetException.class, () -> TokenShards.open(folder.resolve("none")));
        assertThrows(DatasetException.class, () -> TokenShards.open(folder.resolve("none"), "train"));
        assertThrows(DatasetException.class, () -> TokenShards.write(folder.resolve("whole/below"), new int[1], 1, 1, ""));
    }
}
