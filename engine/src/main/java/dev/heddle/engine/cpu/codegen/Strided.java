// Copies between two-dimensional views with any strides: transposes, gathers of strided operands, scatters of results.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;

/** Strided copies of elements of 1, 2, 4 or 8 bytes at absolute addresses; strides are in bytes. */
final class Strided {
    /** Side of the tiles of a transpose: one cache line of f32. */
    static final int TILE = 16;
    private static final long VECTORIZED = 1 << 12; // elements that are worth running code which may not be compiled yet

    private Strided() {}

    /** Copies {@code rows} rows of {@code n} elements. */
    static void copy(long source, long sourceRow, long sourceStep, long target, long targetRow, long targetStep,
            int rows, int n, int bytes) {
        if (sourceStep == bytes && targetStep == bytes) {
            long row = (long) n * bytes;
            if (sourceRow == row && targetRow == row) {
                Memory.copy(source, target, rows * row);
                return;
            }
            for (int r = 0; r < rows; r++) {
                Memory.copy(source + r * sourceRow, target + r * targetRow, row);
            }
        } else if (bytes == Integer.BYTES && sourceRow == bytes && targetStep == bytes && (long) rows * n >= VECTORIZED) {
            int wholeRows = rows / Transpose.SIDE * Transpose.SIDE;
            int wholeColumns = n / Transpose.SIDE * Transpose.SIDE;
            Transpose.TILES.run(source, sourceStep, target, targetRow, wholeRows, wholeColumns);
            tiles(source + wholeColumns * sourceStep, sourceRow, sourceStep,
                    target + wholeColumns * targetStep, targetRow, targetStep, wholeRows, n - wholeColumns, bytes);
            tiles(source + wholeRows * sourceRow, sourceRow, sourceStep,
                    target + wholeRows * targetRow, targetRow, targetStep, rows - wholeRows, n, bytes);
        } else {
            tiles(source, sourceRow, sourceStep, target, targetRow, targetStep, rows, n, bytes);
        }
    }

    /** In tiles if along rows the source is strided more widely than across them, so that cache lines are used whole. */
    private static void tiles(long source, long sourceRow, long sourceStep, long target, long targetRow, long targetStep,
            int rows, int n, int bytes) {
        if (Math.abs(sourceRow) < Math.abs(sourceStep) && rows > 1) {
            for (int c = 0; c < n; c += TILE) {
                int columns = Math.min(TILE, n - c);
                for (int r = 0; r < rows; r += TILE) {
                    elements(source + r * sourceRow + c * sourceStep, sourceRow, sourceStep,
                            target + r * targetRow + c * targetStep, targetRow, targetStep,
                            Math.min(TILE, rows - r), columns, bytes);
                }
            }
        } else {
            elements(source, sourceRow, sourceStep, target, targetRow, targetStep, rows, n, bytes);
        }
    }

    private static void elements(long source, long sourceRow, long sourceStep, long target, long targetRow, long targetStep,
            int rows, int n, int bytes) {
        for (int r = 0; r < rows; r++) {
            long from = source + r * sourceRow;
            long to = target + r * targetRow;
            switch (bytes) {
                case 8 -> {
                    for (int i = 0; i < n; i++) {
                        Memory.putLong(to + i * targetStep, Memory.getLong(from + i * sourceStep));
                    }
                }
                case 4 -> {
                    for (int i = 0; i < n; i++) {
                        Memory.putInt(to + i * targetStep, Memory.getInt(from + i * sourceStep));
                    }
                }
                case 2 -> {
                    for (int i = 0; i < n; i++) {
                        Memory.putShort(to + i * targetStep, Memory.getShort(from + i * sourceStep));
                    }
                }
                default -> {
                    for (int i = 0; i < n; i++) {
                        Memory.putByte(to + i * targetStep, Memory.getByte(from + i * sourceStep));
                    }
                }
            }
        }
    }
}
