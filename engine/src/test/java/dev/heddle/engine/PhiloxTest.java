// The generator against the published known answers of Random123.
package dev.heddle.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.engine.op.Philox;
import org.junit.jupiter.api.Test;

class PhiloxTest {
    @Test
    void knownAnswers() {
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, Philox.block(0, 0, 0, 0, 0, 0));
        assertArrayEquals(new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, Philox.block(-1, -1, -1, -1, -1, -1));
        assertArrayEquals(new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
                Philox.block(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0));
    }

    @Test
    void tensorsHoldTheWordsOfTheStream() {
        Generator generator = new Generator(0x123456789abcdefL);
        generator.rand(6); // two blocks
        assertEquals(2, generator.offset());
        float[] values = generator.rand(9).toFloatArray();
        for (int i = 0; i < values.length; i++) {
            assertEquals((Philox.word(0x123456789abcdefL, 2 + i / 4, i % 4) >>> 8) * 0x1p-24f, values[i]);
        }
    }
}
