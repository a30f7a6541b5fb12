// Matrix products: which implementation, and how its batch is walked.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.List;

/**
 * {@code (..., M, K) x (..., K, N)} through oneDNN, for {@code F32} and, where it has a fast one, for 16-bit floats. The last
 * batch axis is left to the implementation; others are walked here.
 */
final class MatMulKernel implements Kernel {
    private final long m;
    private final long n;
    private final long k;
    private final Matrix a;
    private final Matrix b;
    private final long inner; // extent of the last batch axis
    private final long[] aOffsets; // bytes, by index of the other batch axes
    private final long[] bOffsets;
    private final long[] cOffsets;
    private final long outputBytes;
    private final boolean bias;
    private final OneDnnMatMul planned; // null for F32

    /** How a matrix lies: {@code transposed} ones have their columns contiguous. */
    private record Matrix(boolean transposed, long ld, long stride) {}

    private MatMulKernel(Layout a, Layout b, Layout c, boolean bias, OneDnnMatMul planned) {
        Shape shape = c.shape();
        int batchAxes = shape.rank() - 2;
        m = shape.dim(-2);
        n = shape.dim(-1);
        k = a.shape().dim(-1);
        this.a = matrix(a);
        this.b = matrix(b);
        inner = batchAxes == 0 ? 1 : shape.dim(batchAxes - 1);
        aOffsets = offsets(a, batchAxes - 1);
        bOffsets = offsets(b, batchAxes - 1);
        cOffsets = offsets(c, batchAxes - 1);
        outputBytes = c.spec().bytes();
        this.bias = bias;
        this.planned = planned;
    }

    /** A kernel, or null if oneDNN has no fast one for the dtype. */
    static MatMulKernel of(Step step) {
        MatMulKernel kernel =
                of(step.epilogue(), step.inputs().get(0).layout(), step.inputs().get(1).layout(), step.outputs().getFirst().layout());
        if (kernel == null && step.epilogue() != Step.Epilogue.NONE) {
            throw new IllegalStateException("matmul: oneDNN takes " + step.epilogue() + ", but not with " + step.inputLayouts());
        }
        return kernel;
    }

    /** Whether oneDNN takes an epilogue: of F32 it takes none, and of 16-bit floats it takes it with all layouts or with none. */
    static boolean folds(Step.Epilogue epilogue, List<Spec> inputs, Spec output) {
        MatMulKernel kernel = of(epilogue, Layout.contiguous(inputs.get(0)), Layout.contiguous(inputs.get(1)), Layout.contiguous(output));
        return kernel != null && kernel.planned != null;
    }

    private static MatMulKernel of(Step.Epilogue epilogue, Layout a, Layout b, Layout c) {
        int rank = c.shape().rank();
        Layout wideA = a.expand(c.shape().with(rank - 1, a.shape().dim(-1)));
        Layout wideB = b.expand(c.shape().with(rank - 2, b.shape().dim(-2)));
        boolean empty = c.shape().elements() == 0 || a.shape().dim(-1) == 0;
        if (!OneDnn.available()) {
            return null;
        }
        if (c.dtype() == DType.F32 || empty) {
            return new MatMulKernel(wideA, wideB, c, false, null);
        }
        if (c.dtype() != DType.BF16 && c.dtype() != DType.F16) {
            return null;
        }
        Matrix ma = matrix(wideA);
        Matrix mb = matrix(wideB);
        Shape s = c.shape();
        OneDnnMatMulShape shape = new OneDnnMatMulShape(a.dtype(), c.dtype(), ma.transposed(), mb.transposed(),
                rank == 2 ? 1 : s.dim(rank - 3), s.dim(-2), s.dim(-1), a.shape().dim(-1), ma.ld(), ma.stride(), mb.ld(),
                mb.stride(), s.dim(-1), s.dim(-2) * s.dim(-1), epilogue.bias(), epilogue.relu());
        OneDnnMatMul planned = OneDnnMatMul.of(shape);
        return planned == null ? null : new MatMulKernel(wideA, wideB, c, epilogue.bias(), planned);
    }

    /** Whether an operand's last two axes can be given as a leading dimension and a transposition. */
    static boolean accepts(Layout layout) {
        return rowMajor(layout) || columnMajor(layout);
    }

    private static boolean rowMajor(Layout x) {
        long rows = x.shape().dim(-2);
        long columns = x.shape().dim(-1);
        int rank = x.shape().rank();
        return (columns <= 1 || x.stride(rank - 1) == 1) && (rows <= 1 || x.stride(rank - 2) >= Math.max(1, columns));
    }

    private static boolean columnMajor(Layout x) {
        long rows = x.shape().dim(-2);
        long columns = x.shape().dim(-1);
        int rank = x.shape().rank();
        return (rows <= 1 || x.stride(rank - 2) == 1) && (columns <= 1 || x.stride(rank - 1) >= Math.max(1, rows));
    }

    private static Matrix matrix(Layout x) {
        int rank = x.shape().rank();
        boolean transposed = !rowMajor(x);
        long along = transposed ? x.shape().dim(-2) : x.shape().dim(-1); // extent of the contiguous axis
        long across = transposed ? x.shape().dim(-1) : x.shape().dim(-2);
        long ld = across <= 1 ? Math.max(1, along) : x.stride(transposed ? rank - 1 : rank - 2);
        return new Matrix(transposed, ld, rank == 2 ? 0 : x.stride(rank - 3));
    }

    /** Byte offsets of the elements of the first {@code axes} axes, row-major; one 0 if there are none. */
    private static long[] offsets(Layout x, int axes) {
        long[] offsets = {0};
        for (int axis = 0; axis < axes; axis++) {
            int extent = Math.toIntExact(x.shape().dim(axis));
            long[] next = new long[offsets.length * extent];
            for (int i = 0; i < next.length; i++) {
                next[i] = offsets[i / extent] + (i % extent) * x.stride(axis) * x.dtype().bytes();
            }
            offsets = next;
        }
        return offsets;
    }

    @Override
    public long workspaceBytes() {
        return planned == null ? 0 : planned.workspaceBytes();
    }

    @Override
    public void run(long[] addresses) {
        if (outputBytes == 0) {
            return;
        }
        long c = addresses[bias ? 3 : 2];
        if (k == 0) {
            Memory.fill(c, outputBytes, (byte) 0);
            return;
        }
        for (int i = 0; i < cOffsets.length; i++) {
            long pa = addresses[0] + aOffsets[i];
            long pb = addresses[1] + bOffsets[i];
            long pc = c + cOffsets[i];
            if (planned != null) {
                planned.execute(pa, pb, bias ? addresses[2] : 0, pc, planned.workspaceBytes() == 0 ? 0 : addresses[bias ? 4 : 3]);
            } else {
                OneDnn.batchedSgemm(a.transposed, b.transposed, inner, m, n, k, 1, pa, a.ld, a.stride, pb, b.ld, b.stride,
                        0, pc, n, m * n);
            }
        }
    }
}
