// How a matrix product is cut among threads: the same way for every implementation of it.
package dev.heddle.engine.cpu;

/**
 * A grid of tiles over the rows and columns of the result. Each thread gets a tile, and tiles are as square as can be,
 * because what a thread reads of the operands grows with a tile's perimeter.
 *
 * @param rows tiles over each other
 * @param columns tiles side by side
 */
record MatMulTiles(int rows, int columns) {
    /** Operations below which a product stays on one thread: 10 us' worth or so. */
    static final long SMALL_FLOPS = 1 << 20;

    private static final int ROW_UNIT = 8;
    private static final int COLUMN_UNIT = 16; // a cache line of floats

    /** The grid for an {@code m x n} result and at most {@code parts} tiles. */
    static MatMulTiles of(long m, long n, int parts) {
        MatMulTiles best = new MatMulTiles(1, 1);
        for (int rows = 1; rows <= Math.min(parts, units(m, ROW_UNIT)); rows++) {
            var tiles = new MatMulTiles(rows, (int) Math.min(parts / rows, units(n, COLUMN_UNIT)));
            int more = tiles.count() - best.count();
            if (more > 0 || more == 0 && tiles.perimeter(m, n) < best.perimeter(m, n)) {
                best = tiles;
            }
        }
        return best;
    }

    int count() {
        return rows * columns;
    }

    /** First row of tile {@code tile}; tiles are counted along the rows of the grid. */
    long firstRow(long tile, long m) {
        return first(tile / columns, rows, m, ROW_UNIT);
    }

    /** The row behind the last of tile {@code tile}. */
    long endRow(long tile, long m) {
        return first(tile / columns + 1, rows, m, ROW_UNIT);
    }

    /** First column of tile {@code tile}. */
    long firstColumn(long tile, long n) {
        return first(tile % columns, columns, n, COLUMN_UNIT);
    }

    /** The column behind the last of tile {@code tile}. */
    long endColumn(long tile, long n) {
        return first(tile % columns + 1, columns, n, COLUMN_UNIT);
    }

    private double perimeter(long m, long n) {
        return (double) m / rows + (double) n / columns;
    }

    private static long first(long part, int parts, long size, int unit) {
        return Math.min(size, units(size, unit) * part / parts * unit);
    }

    private static long units(long size, int unit) {
        return Math.max(1, (size + unit - 1) / unit);
    }
}
