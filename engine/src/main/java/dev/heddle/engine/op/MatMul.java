// Matrix products.
package dev.heddle.engine.op;

import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * {@code (..., M, K) x (..., K, N) -> (..., M, N)}; leading dimensions broadcast. Both inputs have the same dtype, which
 * is the result's; 16-bit floats accumulate in {@code F32}. Transposed operands are permuted inputs: backends see
 * them as layouts and copy nothing.
 */
public record MatMul() implements Op {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec a = inputs.get(0);
        Spec b = inputs.get(1);
        if (a.shape().rank() < 2 || b.shape().rank() < 2 || a.shape().dim(-1) != b.shape().dim(-2)) {
            throw new ShapeException("matmul: " + a.shape() + " x " + b.shape() + ": inner dimensions differ or rank below 2");
        }
        if (a.dtype() != b.dtype() || a.dtype() == dev.heddle.engine.DType.BOOL) {
            throw new ShapeException("matmul: dtypes " + a + " x " + b);
        }
        Shape batch = Shape.broadcast("matmul", leading(a.shape()), leading(b.shape()));
        long[] dims = java.util.Arrays.copyOf(batch.dims(), batch.rank() + 2);
        dims[batch.rank()] = a.shape().dim(-2);
        dims[batch.rank() + 1] = b.shape().dim(-1);
        return List.of(new Spec(a.dtype(), Shape.of(dims)));
    }

    /** All but the last two dimensions. */
    public static Shape leading(Shape shape) {
        return Shape.of(java.util.Arrays.copyOf(shape.dims(), shape.rank() - 2));
    }

    @Override
    public String name() {
        return "matmul";
    }
}
