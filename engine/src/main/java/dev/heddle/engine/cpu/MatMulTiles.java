// How a matrix product is cut among threads: the same way for every implementation of it.
package dev.heddle.engine.cpu;

/**
 * A grid of tiles over the result. Each thread gets a tile, and tiles are as square as can be, because what a thread reads
 * of the operands grows with a tile's perimeter. The object can be used again for another result: that allocates nothing.
 */
final class MatMulTiles {
    /** Operations below which a product stays on one thread: 10 us' worth or so. */
    static final long SMALL_FLOPS = 1 << 20;

    private static final int ROW_UNIT = 8;
    private static final int COLUMN_UNIT = 16; // a cache line of floats

    private long m;
    private long n;
    private int rows;
    private int columns;

    /** Cuts an {@code m x n} result into at most {@code parts} tiles. */
    MatMulTiles cut(long m, long n, int parts) {
        this.m = m;
        this.n = n;
        rows = 1;
        columns = columnsBeside(1, parts);
        for (int more = 2; more <= Math.min(parts, units(m, ROW_UNIT)); more++) {
            int fewer = columnsBeside(more, parts);
            int gain = more * fewer - count();
            if (gain > 0 || gain == 0 && perimeter(more, fewer) < perimeter(rows, columns)) {
                rows = more;
                columns = fewer;
            }
        }
        return this;
    }

    /** Tiles over each other. */
    int rows() {
        return rows;
    }

    /** Tiles side by side. */
    int columns() {
        return columns;
    }

    /** All tiles, numbered row by row. */
    int count() {
        return rows * columns;
    }

    /** First row of the result that tile {@code tile} covers. */
    long firstRow(long tile) {
        return first(tile / columns, rows, m, ROW_UNIT);
    }

    /** The row behind its last. */
    long endRow(long tile) {
        return first(tile / columns + 1, rows, m, ROW_UNIT);
    }

    /** First column of the result that tile {@code tile} covers. */
    long firstColumn(long tile) {
        return first(tile % columns, columns, n, COLUMN_UNIT);
    }

    /** The column behind its last. */
    long endColumn(long tile) {
        return first(tile % columns + 1, columns, n, COLUMN_UNIT);
    }

    private int columnsBeside(int rows, int parts) {
        return (int) Math.min(parts / rows, units(n, COLUMN_UNIT));
    }

    private double perimeter(int rows, int columns) {
        return (double) m / rows + (double) n / columns;
    }

    private static long first(long part, int parts, long size, int unit) {
        return Math.min(size, units(size, unit) * part / parts * unit);
    }

    private static long units(long size, int unit) {
        return Math.max(1, (size + unit - 1) / unit);
    }
}
