// The counter-based random number generator that every backend implements.
package dev.heddle.engine.op;

/**
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011). A block of four words
 * is a function of a 128-bit counter and a 64-bit key, so that any element can be computed on its own.
 */
public final class Philox {
    /** Multipliers of the two halves of a round. */
    public static final int M0 = 0xD2511F53;
    /** See {@link #M0}. */
    public static final int M1 = 0xCD9E8D57;
    /** What the key words grow by from round to round. */
    public static final int W0 = 0x9E3779B9;
    /** See {@link #W0}. */
    public static final int W1 = 0xBB67AE85;
    /** Number of rounds. */
    public static final int ROUNDS = 10;

    private Philox() {}

    /** Word {@code i}, 0 to 3, of the block at a 64-bit counter, under a 64-bit key. */
    public static int word(long seed, long block, int i) {
        return block((int) block, (int) (block >>> 32), 0, 0, (int) seed, (int) (seed >>> 32))[i];
    }

    /** The four words at counter {@code (c0, c1, c2, c3)} under key {@code (k0, k1)}. */
    public static int[] block(int c0, int c1, int c2, int c3, int k0, int k1) {
        int x0 = c0;
        int x1 = c1;
        int x2 = c2;
        int x3 = c3;
        int key0 = k0;
        int key1 = k1;
        for (int round = 0; round < ROUNDS; round++) {
            long p0 = (M0 & 0xffffffffL) * (x0 & 0xffffffffL);
            long p1 = (M1 & 0xffffffffL) * (x2 & 0xffffffffL);
            x0 = (int) (p1 >>> 32) ^ x1 ^ key0;
            x1 = (int) p1;
            x2 = (int) (p0 >>> 32) ^ x3 ^ key1;
            x3 = (int) p0;
            key0 += W0;
            key1 += W1;
        }
        return new int[] {x0, x1, x2, x3};
    }
}
