// Reading by index.
package dev.heddle.engine.op;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * Reads elements of {@code x} (first input) at places given by an index tensor (second input, {@code I64} or
 * {@code I32}). Indices are in {@code [0, x.dim(axis))}; one outside fails the evaluation with an
 * {@link IndexOutOfBoundsException}.
 */
public sealed interface Gather extends Op {
    /** The axis of {@code x} that is indexed. */
    int axis();

    /** Whole slices: the index's shape takes the place of the axis. Embedding is {@code axis 0}. */
    record Slices(int axis) implements Gather {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec x = inputs.get(0);
            Spec index = Index.check(name(), x, inputs.get(1), axis);
            return List.of(new Spec(x.dtype(), Index.replaceAxis(x.shape(), axis, index.shape())));
        }

        @Override
        public String name() {
            return "index_select";
        }
    }

    /** Single elements: output and index have one shape, equal to {@code x}'s except along the axis. */
    record Elements(int axis) implements Gather {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec x = inputs.get(0);
            Spec index = Index.check(name(), x, inputs.get(1), axis);
            Index.checkElements(name(), x, index, axis);
            return List.of(new Spec(x.dtype(), index.shape()));
        }

        @Override
        public String name() {
            return "gather";
        }
    }

    /** Checks and shapes that gather and scatter share. */
    final class Index {
        private Index() {}

        static Spec check(String operation, Spec x, Spec index, int axis) {
            x.shape().axis(operation, axis);
            if (index.dtype() != DType.I64 && index.dtype() != DType.I32) {
                throw new ShapeException(operation + ": index must be I64 or I32, is " + index);
            }
            return index;
        }

        static void checkElements(String operation, Spec x, Spec index, int axis) {
            if (x.shape().rank() != index.shape().rank()
                    || !x.shape().with(axis, 0).equals(index.shape().with(axis, 0))) {
                throw new ShapeException(operation + ": index " + index.shape() + " must equal " + x.shape()
                        + " except along axis " + axis);
            }
        }

        static Shape replaceAxis(Shape x, int axis, Shape index) {
            long[] dims = new long[x.rank() - 1 + index.rank()];
            for (int i = 0; i < dims.length; i++) {
                dims[i] = i < axis ? x.dim(i) : i < axis + index.rank() ? index.dim(i - axis) : x.dim(i - index.rank() + 1);
            }
            return Shape.of(dims);
        }
    }
}
