// A generated loop wants its operands contiguous or repeated along a row; this brings all others into that form.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.util.ArrayList;
import java.util.List;

/**
 * A {@link Loop} over operands of any strides: those that are strided along a row go through scratch memory tile by tile.
 * Not for use by two threads at a time.
 */
final class TileLoop {
    private static final int ROWS = Strided.TILE;
    private static final int COLUMNS = 256;
    /** The first calls are given this many elements at most: methods are compiled sooner for being called than for looping. */
    private static final int PIECE = 256;
    private static final int YOUNG = 2000;
    private static final int LARGEST_TWICE = 3500; // code above this is not repeated for the rest of a row

    /**
     * The virtual machine may compile a large loop by its first compiler for good: when its second one is busy it takes a first stage
     * without profiling, and if the loop is then too large for the stage with profiling ("out of virtual registers"), there is no way
     * on. Vectors are objects there, some hundred times slower. So now and then a call is timed; a loop that stays slow is replaced by
     * a new class of the same code, which starts anew.
     */
    private static final int TIMED = 64; // every so many calls
    private static final int SLOW_NANOS = 20; // an element; compiled loops take up to 5
    private static final int SLOW_CALL_NANOS = 2000;
    private static final int PATIENCE = 3; // slow calls in a row: one may have been interrupted, or compiling takes its time
    private static final int MORE_PATIENCE = 8;

    private final Loops.Shared shared;
    private final boolean vector;
    private final long[] constants;
    private final int inputs;
    private final int[] bytes;
    private final long[] strides;
    private final long[] scratchOffsets; // -1 where an operand is used in place
    private final long scratchBytes;
    private final long[] at;
    private final long[] step;
    private long calls;
    private int slow; // timed calls in a row
    private int patience = PATIENCE;

    private TileLoop(Loops.Shared shared, boolean vector, long[] constants, int inputs, int[] bytes, long[] strides) {
        this.shared = shared;
        this.vector = vector;
        this.constants = constants;
        this.inputs = inputs;
        this.bytes = bytes;
        this.strides = strides;
        scratchOffsets = new long[bytes.length];
        long scratch = 0;
        for (int k = 0; k < bytes.length; k++) {
            boolean inPlace = strides[k] == bytes[k] || strides[k] == 0 && k < inputs;
            scratchOffsets[k] = inPlace ? -1 : scratch;
            scratch += inPlace ? 0 : (long) ROWS * COLUMNS * bytes[k];
        }
        scratchBytes = scratch;
        at = new long[bytes.length];
        step = new long[bytes.length];
    }

    /**
     * The loop for some expressions.
     *
     * @param vector whether it is one of vectors, as {@link Stage} says
     * @param inputs dtypes of the inputs
     * @param strides for each input, then each output, the bytes from element to element of a row
     * @param n elements of a row, or if rows are split, a number with the same remainder by 64
     */
    static TileLoop of(boolean vector, List<Expr> outputs, List<DType> inputs, long[] strides, long n) {
        Program program = Program.of(outputs);
        List<Boolean> repeated = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            repeated.add(strides[i] == 0);
        }
        int[] bytes = new int[strides.length];
        for (int k = 0; k < bytes.length; k++) {
            bytes[k] = (k < inputs.size() ? inputs.get(k) : outputs.get(k - inputs.size()).dtype()).bytes();
        }
        int lanes = Lanes.S.length();
        boolean rest = vector && n % lanes != 0;
        boolean whole = vector && n >= lanes && !(rest && Program.codeBytes(outputs) > LARGEST_TWICE);
        Loops.Key key = new Loops.Key(vector, program.outputs(), repeated, whole, rest);
        return new TileLoop(Loops.of(key), vector, program.constants(), inputs.size(), bytes, strides);
    }

    /** The same loop for another thread. */
    TileLoop copy() {
        return new TileLoop(shared, vector, constants, inputs, bytes, strides);
    }

    /** Scratch memory needed. */
    long scratchBytes() {
        return scratchBytes;
    }

    /**
     * Computes.
     *
     * @param first address of the first element of each operand
     * @param rowStep bytes from row to row
     * @param scratch address of the scratch memory
     */
    void run(long[] first, long[] rowStep, int rows, int n, long scratch) {
        if (scratchBytes != 0) {
            runInTiles(first, rowStep, rows, n, scratch);
        } else if (calls < YOUNG) {
            runInPieces(first, rowStep, rows, n);
        } else {
            call(first, rowStep, rows, n);
        }
    }

    private void call(long[] at, long[] step, int rows, int n) {
        Loop loop = shared.loop();
        if (++calls % TIMED != 0 || calls < YOUNG || !vector) {
            loop.run(at, step, constants, rows, n);
            return;
        }
        long start = System.nanoTime();
        loop.run(at, step, constants, rows, n);
        slow = System.nanoTime() - start > SLOW_CALL_NANOS + (long) SLOW_NANOS * rows * n ? slow + 1 : 0;
        if (slow == patience) {
            shared.replace(loop);
            calls = 0;
            slow = 0;
            patience *= MORE_PATIENCE;
        }
    }

    private void runInPieces(long[] first, long[] rowStep, int rows, int n) {
        int pieceRows = Math.max(1, PIECE / n);
        for (int row = 0; row < rows; row += pieceRows) {
            for (int column = 0; column < n; column += PIECE) {
                for (int k = 0; k < first.length; k++) {
                    at[k] = first[k] + row * rowStep[k] + column * strides[k];
                }
                call(at, rowStep, Math.min(pieceRows, rows - row), Math.min(PIECE, n - column));
            }
        }
    }

    private void runInTiles(long[] first, long[] rowStep, int rows, int n, long scratch) {
        for (int row = 0; row < rows; row += ROWS) {
            int tileRows = Math.min(ROWS, rows - row);
            for (int column = 0; column < n; column += COLUMNS) {
                int columns = Math.min(COLUMNS, n - column);
                for (int k = 0; k < first.length; k++) {
                    long source = first[k] + row * rowStep[k] + column * strides[k];
                    if (scratchOffsets[k] < 0) {
                        at[k] = source;
                        step[k] = rowStep[k];
                    } else {
                        at[k] = scratch + scratchOffsets[k];
                        step[k] = (long) COLUMNS * bytes[k];
                        if (k < inputs) {
                            Strided.copy(source, rowStep[k], strides[k], at[k], step[k], bytes[k], tileRows, columns, bytes[k]);
                        }
                    }
                }
                call(at, step, tileRows, columns);
                for (int k = inputs; k < first.length; k++) {
                    if (scratchOffsets[k] >= 0) {
                        long target = first[k] + row * rowStep[k] + column * strides[k];
                        Strided.copy(at[k], step[k], bytes[k], target, rowStep[k], strides[k], tileRows, columns, bytes[k]);
                    }
                }
            }
        }
    }
}
