// Ordering along an axis.
package dev.heddle.engine.op;

import dev.heddle.engine.DType;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * The first {@code k} elements in order along an axis; {@code k} equal to the extent is a full sort. Stable: equal
 * elements keep their order. NaN counts as larger than everything.
 *
 * <p>Outputs: the values, of the input's dtype, and their places along the axis, {@code I64}.
 *
 * @param axis in {@code [0, rank)}
 * @param k from 0 to the extent
 */
public record Sort(int axis, boolean descending, long k) implements Op {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec in = inputs.getFirst();
        in.shape().axis(name(), axis);
        if (k < 0 || k > in.shape().dim(axis)) {
            throw new ShapeException("topk: k = " + k + " along axis " + axis + " of " + in.shape());
        }
        var shape = in.shape().with(axis, k);
        return List.of(new Spec(in.dtype(), shape), new Spec(DType.I64, shape));
    }

    @Override
    public String name() {
        return "sort";
    }
}
