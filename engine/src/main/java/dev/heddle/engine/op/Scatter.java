// Adding by index: what gather does, backwards.
package dev.heddle.engine.op;

import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * {@code x} (first input) with the elements of {@code source} (third input) added at places given by an index tensor
 * (second input, {@code I64} or {@code I32}). Several additions to one place are made in an order that depends on
 * the shapes and the index alone, so results are the same run to run. An index outside {@code [0, x.dim(axis))} fails the evaluation with an
 * {@link IndexOutOfBoundsException}.
 */
public sealed interface Scatter extends Op {
    /** The axis of {@code x} that is indexed. */
    int axis();

    /** Whole slices; the source has {@code x}'s shape with the axis replaced by the index's shape. */
    record AddSlices(int axis) implements Scatter {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec x = inputs.get(0);
            Spec index = Gather.Index.check(name(), x, inputs.get(1), axis);
            Spec source = inputs.get(2);
            if (!source.equals(new Spec(x.dtype(), Gather.Index.replaceAxis(x.shape(), axis, index.shape())))) {
                throw new ShapeException("index_add: source " + source + " does not fit " + x + " with index "
                        + index.shape() + " along axis " + axis);
            }
            return List.of(x);
        }

        @Override
        public String name() {
            return "index_add";
        }
    }

    /** Single elements; source and index have one shape, equal to {@code x}'s except along the axis. */
    record AddElements(int axis) implements Scatter {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec x = inputs.get(0);
            Spec index = Gather.Index.check(name(), x, inputs.get(1), axis);
            Gather.Index.checkElements(name(), x, index, axis);
            if (!inputs.get(2).equals(new Spec(x.dtype(), index.shape()))) {
                throw new ShapeException("scatter_add: source " + inputs.get(2) + " must be " + x.dtype() + index.shape());
            }
            return List.of(x);
        }

        @Override
        public String name() {
            return "scatter_add";
        }
    }
}
