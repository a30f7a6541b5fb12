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
    private static final int LARGEST_TWICE = 3500; // code above this is not repeated for the rest of a row

    private final LoopCall loop;
    private final int inputs;
    private final int[] bytes;
    private final long[] strides;
    private final long[] scratchOffsets; // -1 where an operand is used in place
    private final long scratchBytes;
    private final long[] at;
    private final long[] step;

    private TileLoop(LoopCall loop, int inputs, int[] bytes, long[] strides) {
        this.loop = loop;
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
        Loops.Elementwise key = new Loops.Elementwise(vector, program.outputs(), repeated, whole, rest);
        return new TileLoop(new LoopCall(key, vector, program.constants()), inputs.size(), bytes, strides);
    }

    /** The same loop for another thread. */
    TileLoop copy() {
        return new TileLoop(loop.copy(), inputs, bytes, strides);
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
        } else if (loop.wantsPieces()) {
            runInPieces(first, rowStep, rows, n);
        } else {
            loop.run(first, rowStep, rows, n);
        }
    }

    private void runInPieces(long[] first, long[] rowStep, int rows, int n) {
        int pieceRows = Math.max(1, LoopCall.PIECE / n);
        for (int row = 0; row < rows; row += pieceRows) {
            for (int column = 0; column < n; column += LoopCall.PIECE) {
                for (int k = 0; k < first.length; k++) {
                    at[k] = first[k] + row * rowStep[k] + column * strides[k];
                }
                loop.run(at, rowStep, Math.min(pieceRows, rows - row), Math.min(LoopCall.PIECE, n - column));
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
                loop.run(at, step, tileRows, columns);
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
