// Dropout whose mask is computed where it is needed, forward and backward, and never stored.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Spec;
import java.util.Arrays;
import java.util.List;

/**
 * {@code (x, seed, offset) -> y}: {@code y = x / (1 - p)} where {@code u >= p}, else 0 (Srivastava et al., 2014), with {@code u} the
 * {@code UNIFORM} numbers of {@link Random} of {@code x}'s shape.
 *
 * @param p in {@code [0, 1)}
 */
public record Dropout(double p) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec number = new Spec(DType.I64, Shape.SCALAR);
        if (!inputs.get(0).dtype().isFloat() || !inputs.subList(1, inputs.size()).equals(List.of(number, number))) {
            throw new ShapeException("dropout: " + inputs + " are not a float tensor and I64 scalars seed and offset");
        }
        return inputs.subList(0, 1);
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.getFirst();
        Random random = new Random(Random.Distribution.UNIFORM, DType.F32, x.shape());
        Tensor u = Tensor.recordAll(random, inputs.subList(1, 3)).getFirst();
        Expr number = new Expr.Input(0, DType.F32);
        Elementwise atLeast = Elementwise.of(number.compare(Expr.Comparison.GE, number.literal(p)));
        Tensor kept = Tensor.recordAll(atLeast, List.of(u)).getFirst(); // the same expression backward, so that it is computed once
        Expr value = new Expr.Input(1, x.dtype()).cast(x.dtype().computeType());
        Expr scaled = new Expr.Input(0, DType.BOOL).select(value.mul(value.literal(1 / (1 - p))), value.literal(0));
        return Tensor.recordAll(Elementwise.of(scaled.cast(x.dtype())), List.of(kept, x));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return Arrays.asList(Tensor.recordAll(this, List.of(gradients.getFirst(), inputs.get(1), inputs.get(2))).getFirst(), null, null);
    }

    @Override
    public String name() {
        return "dropout";
    }
}
