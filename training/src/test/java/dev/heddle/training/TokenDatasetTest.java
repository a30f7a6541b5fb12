package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.testing.NoLeaks;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

@NoLeaks
class TokenDatasetTest {
    private static final int[] TEXT = IntStream.range(0, 100).toArray();

    @Test
    void targetsFollowInputsAndWindowsAreTheSameEachTime() {
        TokenDataset data = TokenDataset.random(TEXT, 7, 50);
        Batch batch = data.batch(new int[] {3, 49}, 11);
        long[] inputs = batch.input().toLongArray();
        long[] targets = batch.target().toLongArray();
        assertArrayEquals(new long[] {2, 7}, batch.input().shape().dims());
        for (int i = 0; i < inputs.length; i++) {
            assertEquals(inputs[i] + 1, targets[i]);
            assertTrue(i % 7 == 0 || inputs[i] == inputs[i - 1] + 1, Arrays.toString(inputs));
        }
        assertArrayEquals(inputs, data.batch(new int[] {3, 49}, 11).input().toLongArray());
        assertTrue(!Arrays.equals(inputs, data.batch(new int[] {3, 49}, 12).input().toLongArray()), "another epoch, other windows");
    }

    @Test
    void spreadWindowsCoverTheText() {
        TokenDataset data = TokenDataset.spread(TEXT, 10, 4);
        assertEquals(4, data.size());
        assertEquals(0, data.batch(new int[] {0}, 1).input().toLongArray()[0]);
        long[] last = data.batch(new int[] {3}, 2).target().toLongArray();
        assertEquals(99, last[9]);
        assertThrows(DatasetException.class, () -> TokenDataset.random(new int[5], 5, 1));
    }
}
