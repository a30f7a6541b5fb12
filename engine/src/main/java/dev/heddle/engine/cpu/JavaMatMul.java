// Matrix products in plain Java: for machines without oneDNN, and for the dtypes it has no product for.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@code (..., M, K) x (..., K, N)} of any dtype and any strides. Floats of 16 and 32 bits are packed into rows of
 * {@code F32} and multiplied in tiles of 4 rows by 2 vectors; the others run element by element. Each result is summed in
 * the order of {@code k}, by one thread.
 */
final class JavaMatMul implements Kernel {
    private static final VectorSpecies<Float> LANES = FloatVector.SPECIES_PREFERRED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();
    private static final int ROWS = 4;
    private static final int COLUMNS = 2 * LANES.length();

    private final DType dtype;
    private final long m;
    private final long n;
    private final long k;
    private final Layout a; // expanded to the batch of the result
    private final Layout b;
    private final Layout c;
    private final long batch;
    private final boolean packs;
    private final long bytesA;
    private final long bytesB;
    private final WorkerPool.RangeBody packBody = this::pack;
    private final WorkerPool.RangeBody rowsBody = this::rows;
    private long baseA; // of the current matrices
    private long baseB;
    private long baseC;
    private long packedA;
    private long packedB;

    private JavaMatMul(Layout a, Layout b, Layout c) {
        Shape shape = c.shape();
        int rank = shape.rank();
        dtype = c.dtype();
        m = shape.dim(-2);
        n = shape.dim(-1);
        k = a.shape().dim(-1);
        this.a = a.expand(shape.with(rank - 1, k));
        this.b = b.expand(shape.with(rank - 2, k));
        this.c = c;
        batch = m * n == 0 ? 0 : shape.elements() / (m * n);
        packs = dtype == DType.F32 || dtype == DType.BF16 || dtype == DType.F16;
        bytesA = (m * k * Float.BYTES + 63) & -64;
        bytesB = (k * n * Float.BYTES + 63) & -64;
    }

    static JavaMatMul of(Layout a, Layout b, Layout c) {
        return new JavaMatMul(a, b, c);
    }

    @Override
    public long workspaceBytes() {
        return packs ? bytesA + bytesB : 0;
    }

    @Override
    public void run(long[] addresses) {
        if (packs) {
            packedA = bytesA + bytesB > 0 ? addresses[3] : 0;
            packedB = packedA + bytesA;
        }
        int rank = c.shape().rank();
        for (long i = 0; i < batch; i++) {
            long offsetA = 0;
            long offsetB = 0;
            long offsetC = 0;
            long rest = i;
            for (int axis = rank - 3; axis >= 0; axis--) {
                long at = rest % c.shape().dim(axis);
                rest /= c.shape().dim(axis);
                offsetA += at * a.stride(axis);
                offsetB += at * b.stride(axis);
                offsetC += at * c.stride(axis);
            }
            baseA = addresses[0] + offsetA * dtype.bytes();
            baseB = addresses[1] + offsetB * dtype.bytes();
            baseC = addresses[2] + offsetC * dtype.bytes();
            long perRow = Math.max(1, n * k);
            if (packs) {
                WorkerPool.shared().parallelFor(m + k, Math.max(1, (1 << 16) / Math.max(1, n + k)), packBody);
                WorkerPool.shared().parallelFor((m + ROWS - 1) / ROWS, Math.max(1, (1 << 18) / (ROWS * perRow)), rowsBody);
            } else {
                WorkerPool.shared().parallelFor(m, Math.max(1, (1 << 16) / perRow), rowsBody);
            }
        }
    }

    /** Rows of A, then rows of B, as contiguous F32. */
    private void pack(long from, long to) {
        int rank = a.shape().rank();
        for (long row = from; row < to; row++) {
            if (row < m) {
                packRow(baseA + row * a.stride(rank - 2) * dtype.bytes(), a.stride(rank - 1), k, packedA + row * k * Float.BYTES);
            } else {
                long r = row - m;
                packRow(baseB + r * b.stride(rank - 2) * dtype.bytes(), b.stride(rank - 1), n, packedB + r * n * Float.BYTES);
            }
        }
    }

    private void packRow(long source, long stride, long count, long target) {
        switch (dtype) {
            case F32 -> {
                for (long i = 0; i < count; i++) {
                    Memory.putFloat(target + 4 * i, Memory.getFloat(source + 4 * i * stride));
                }
            }
            case BF16 -> {
                for (long i = 0; i < count; i++) {
                    Memory.putFloat(target + 4 * i, Float16.bfloat16(Memory.getShort(source + 2 * i * stride)));
                }
            }
            default -> {
                for (long i = 0; i < count; i++) {
                    Memory.putFloat(target + 4 * i, Float.float16ToFloat(Memory.getShort(source + 2 * i * stride)));
                }
            }
        }
    }

    private void rows(long from, long to) {
        if (!packs) {
            for (long row = from; row < to; row++) {
                scalarRow(row);
            }
            return;
        }
        for (long block = from; block < to; block++) {
            long row = block * ROWS;
            for (long column = 0; column < n; column += COLUMNS) {
                tile(row, (int) Math.min(ROWS, m - row), column, (int) Math.min(COLUMNS, n - column));
            }
        }
    }

    private void tile(long row, int rows, long column, int columns) {
        VectorMask<Float> left = LANES.indexInRange(0, columns);
        VectorMask<Float> right = LANES.indexInRange(LANES.length(), columns);
        long a0 = packedA + row * k * Float.BYTES;
        long a1 = rows > 1 ? a0 + k * Float.BYTES : a0; // rows that are not there repeat the first and are not stored
        long a2 = rows > 2 ? a1 + k * Float.BYTES : a0;
        long a3 = rows > 3 ? a2 + k * Float.BYTES : a0;
        long b0 = packedB + column * Float.BYTES;
        FloatVector c00 = FloatVector.zero(LANES);
        FloatVector c01 = c00;
        FloatVector c10 = c00;
        FloatVector c11 = c00;
        FloatVector c20 = c00;
        FloatVector c21 = c00;
        FloatVector c30 = c00;
        FloatVector c31 = c00;
        for (long i = 0; i < k; i++) {
            FloatVector x = FloatVector.fromMemorySegment(LANES, Memory.ALL, b0, ORDER, left);
            FloatVector y = FloatVector.fromMemorySegment(LANES, Memory.ALL, b0 + LANES.length() * (long) Float.BYTES, ORDER, right);
            b0 += n * Float.BYTES;
            FloatVector w = FloatVector.broadcast(LANES, Memory.getFloat(a0 + i * Float.BYTES));
            c00 = w.fma(x, c00);
            c01 = w.fma(y, c01);
            w = FloatVector.broadcast(LANES, Memory.getFloat(a1 + i * Float.BYTES));
            c10 = w.fma(x, c10);
            c11 = w.fma(y, c11);
            w = FloatVector.broadcast(LANES, Memory.getFloat(a2 + i * Float.BYTES));
            c20 = w.fma(x, c20);
            c21 = w.fma(y, c21);
            w = FloatVector.broadcast(LANES, Memory.getFloat(a3 + i * Float.BYTES));
            c30 = w.fma(x, c30);
            c31 = w.fma(y, c31);
        }
        store(row, 0, rows, column, c00, c01, left, right);
        store(row, 1, rows, column, c10, c11, left, right);
        store(row, 2, rows, column, c20, c21, left, right);
        store(row, 3, rows, column, c30, c31, left, right);
    }

    private void store(long row, int i, int rows, long column, FloatVector x, FloatVector y, VectorMask<Float> left,
            VectorMask<Float> right) {
        if (i >= rows) {
            return;
        }
        long address = baseC + ((row + i) * n + column) * dtype.bytes();
        if (dtype == DType.F32) {
            x.intoMemorySegment(Memory.ALL, address, ORDER, left);
            y.intoMemorySegment(Memory.ALL, address + LANES.length() * (long) Float.BYTES, ORDER, right);
            return;
        }
        for (int lane = 0; lane < COLUMNS && column + lane < n; lane++) {
            float value = lane < LANES.length() ? x.lane(lane) : y.lane(lane - LANES.length());
            Memory.putShort(address + 2L * lane, dtype == DType.BF16 ? Float16.toBfloat16(value) : Float.floatToFloat16(value));
        }
    }

    private void scalarRow(long row) {
        int rank = a.shape().rank();
        for (long column = 0; column < n; column++) {
            double sum = 0;
            long exact = 0;
            for (long i = 0; i < k; i++) {
                long pa = baseA + (row * a.stride(rank - 2) + i * a.stride(rank - 1)) * dtype.bytes();
                long pb = baseB + (i * b.stride(rank - 2) + column * b.stride(rank - 1)) * dtype.bytes();
                switch (dtype) {
                    case F64 -> sum += Memory.getDouble(pa) * Memory.getDouble(pb);
                    case I64 -> exact += Memory.getLong(pa) * Memory.getLong(pb);
                    case I32 -> exact += (long) Memory.getInt(pa) * Memory.getInt(pb);
                    default -> exact += (long) (Memory.getByte(pa) & 0xff) * (Memory.getByte(pb) & 0xff);
                }
            }
            long pc = baseC + (row * n + column) * dtype.bytes();
            switch (dtype) {
                case F64 -> Memory.putDouble(pc, sum);
                case I64 -> Memory.putLong(pc, exact);
                case I32 -> Memory.putInt(pc, (int) exact);
                default -> Memory.putByte(pc, (byte) exact);
            }
        }
    }
}
