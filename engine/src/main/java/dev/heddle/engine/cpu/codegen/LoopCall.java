// Calls a generated loop, and sees to it that the virtual machine compiles it well.
package dev.heddle.engine.cpu.codegen;

/**
 * A {@link Loop} with its literals, as one thread calls it.
 *
 * <p>The virtual machine may compile a large loop by its first compiler for good: when its second one is busy it takes a first stage
 * without profiling, and if the loop is then too large for the stage with profiling ("out of virtual registers"), there is no way
 * on. Vectors are objects there, some hundred times slower. So now and then a call is timed; a loop that stays slow is replaced by
 * a new class of the same code, which starts anew.
 */
public final class LoopCall {
    /** Elements of a small call. */
    public static final int PIECE = 256;

    private static final int YOUNG = 2000;
    private static final int TIMED = 16; // every so many calls
    private static final long SETTLING_NANOS = 2_000_000_000; // so long a loop may wait to be compiled
    private static final int SLOW_NANOS = 10; // an element; compiled loops take up to 5
    private static final int SLOW_CALL_NANOS = 2000;
    private static final int PATIENCE = 3; // slow calls in a row: one may have been interrupted, or compiling takes its time
    private static final int MORE_PATIENCE = 8;

    private final Loops.Shared shared;
    private final boolean vector;
    private final long[] constants;
    private long calls;
    private long begun; // when it was first timed
    private int slow; // timed calls in a row
    private int patience = PATIENCE;

    private LoopCall(Loops.Shared shared, boolean vector, long[] constants) {
        this.shared = shared;
        this.vector = vector;
        this.constants = constants;
    }

    /**
     * A call of the loop of a key.
     *
     * @param vector whether it is one of vectors
     * @param constants bits of the literals
     */
    LoopCall(Loops.Key key, boolean vector, long[] constants) {
        this(Loops.of(key), vector, constants);
    }

    /** The same loop for another thread. */
    public LoopCall copy() {
        return new LoopCall(shared, vector, constants);
    }

    /**
     * Whether to call it for {@link #PIECE} elements at a time for now: methods are compiled sooner for being called than for looping. One that
     * has methods of its own calls these for every row.
     */
    public boolean wantsPieces() {
        return calls < YOUNG && !shared.hasParts();
    }

    /**
     * Calls the loop.
     *
     * @param at address of the first row of each operand
     * @param step bytes from row to row
     * @param rows number of rows
     * @param n elements in a row
     */
    public void run(long[] at, long[] step, int rows, int n) {
        Loop loop = shared.loop();
        if (++calls % TIMED != 0 || !vector) {
            loop.run(at, step, constants, rows, n);
            return;
        }
        long start = System.nanoTime();
        begun = calls == TIMED ? start : begun;
        loop.run(at, step, constants, rows, n);
        boolean tooLong = System.nanoTime() - start > SLOW_CALL_NANOS + (long) SLOW_NANOS * rows * n;
        slow = tooLong && start - begun > SETTLING_NANOS ? slow + 1 : 0;
        if (slow == patience) {
            shared.replace(loop);
            calls = 0;
            slow = 0;
            patience *= MORE_PATIENCE;
        }
    }
}
