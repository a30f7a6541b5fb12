// Copies between two-dimensional views with any strides: transposes, gathers of strided operands, scatters of results, fills.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;

/** Strided copies of elements of 1, 2, 4 or 8 bytes at absolute addresses; strides are in bytes. */
final class Strided {
    /** Side of the tiles of a transpose: one cache line of f32. */
    static final int TILE = 16;
    private static final long VECTORIZED = 1 << 12; // elements that are worth running code which may not be compiled yet
    private static final int FIRST = 16; // elements of a fill that are written one by one
    private static final long PIECE = 8 << 10; // bytes of a fill that are then copied at once: they stay in the first-level cache
    private static final int LONG = 256; // elements of a row that is worth a fill of its own

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
        } else if (sourceStep == 0 && targetStep == bytes && sourceRow == 0 && targetRow == (long) n * bytes) {
            fill(source, target, (long) rows * n, bytes);
        } else if (sourceStep == 0 && targetStep == bytes && n >= LONG) {
            for (int r = 0; r < rows; r++) {
                fill(source + r * sourceRow, target + r * targetRow, n, bytes);
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

    /** Writes one element {@code n} times: a few, then copies of what is there. */
    private static void fill(long source, long target, long n, int bytes) {
        int first = (int) Math.min(n, FIRST);
        elements(source, 0, 0, target, 0, bytes, 1, first, bytes);
        long all = n * bytes;
        for (long done = (long) first * bytes, part; done < all; done += part) {
            part = Math.min(Math.min(done, PIECE), all - done);
            Memory.copy(target, target + done, part);
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
