// Operations that only move elements: views where a layout can say it, copies where not. The planner decides.
package dev.heddle.engine.op;

import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/** A rearrangement of elements. */
public sealed interface Movement extends Op {

    /** The same elements in row-major order under another shape. */
    record Reshape(Shape shape) implements Movement {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec in = inputs.getFirst();
            if (in.shape().elements() != shape.elements()) {
                throw new ShapeException("reshape: " + in.shape() + " has " + in.shape().elements() + " elements, "
                        + shape + " has " + shape.elements());
            }
            return List.of(new Spec(in.dtype(), shape));
        }
    }

    /** Output axis {@code i} is input axis {@code order[i]}. */
    record Permute(List<Integer> order) implements Movement {
        public Permute {
            order = List.copyOf(order);
        }

        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec in = inputs.getFirst();
            long[] dims = new long[order.size()];
            boolean[] seen = new boolean[order.size()];
            for (int i = 0; i < dims.length; i++) {
                int from = order.get(i);
                if (order.size() != in.shape().rank() || from < 0 || from >= dims.length || seen[from]) {
                    throw new ShapeException("permute: " + order + " is no permutation of the axes of " + in.shape());
                }
                seen[from] = true;
                dims[i] = in.shape().dim(from);
            }
            if (order.size() != in.shape().rank()) {
                throw new ShapeException("permute: " + order + " is no permutation of the axes of " + in.shape());
            }
            return List.of(new Spec(in.dtype(), Shape.of(dims)));
        }
    }

    /** Broadcasting made explicit: axes of extent 1 repeat, leading axes are added. */
    record Expand(Shape shape) implements Movement {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec in = inputs.getFirst();
            if (in.shape().rank() > shape.rank() || !Shape.broadcast("expand", in.shape(), shape).equals(shape)) {
                throw new ShapeException("expand: " + in.shape() + " does not expand to " + shape);
            }
            return List.of(new Spec(in.dtype(), shape));
        }
    }

    /**
     * Elements {@code start, start + step, ...}, {@code length} of them, along each axis; steps are at least 1
     * ({@link Flip} reverses).
     */
    record Slice(List<Long> starts, List<Long> lengths, List<Long> steps) implements Movement {
        public Slice {
            starts = List.copyOf(starts);
            lengths = List.copyOf(lengths);
            steps = List.copyOf(steps);
        }

        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec in = inputs.getFirst();
            int rank = in.shape().rank();
            long[] dims = new long[rank];
            boolean ok = starts.size() == rank && lengths.size() == rank && steps.size() == rank;
            for (int i = 0; ok && i < rank; i++) {
                long start = starts.get(i);
                long length = lengths.get(i);
                long step = steps.get(i);
                ok = start >= 0 && length >= 0 && step >= 1
                        && (length == 0 ? start <= in.shape().dim(i) : start + (length - 1) * step < in.shape().dim(i));
                dims[i] = length;
            }
            if (!ok) {
                throw new ShapeException("slice: starts " + starts + " lengths " + lengths + " steps " + steps
                        + " leave shape " + in.shape());
            }
            return List.of(new Spec(in.dtype(), Shape.of(dims)));
        }
    }

    /** {@code value} put around: {@code before[i]} elements ahead of and {@code after[i]} behind axis {@code i}. */
    record Pad(List<Long> before, List<Long> after, double value) implements Movement {
        public Pad {
            before = List.copyOf(before);
            after = List.copyOf(after);
        }

        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec in = inputs.getFirst();
            long[] dims = in.shape().dims();
            boolean ok = before.size() == dims.length && after.size() == dims.length;
            for (int i = 0; ok && i < dims.length; i++) {
                ok = before.get(i) >= 0 && after.get(i) >= 0;
                dims[i] += before.get(i) + after.get(i);
            }
            if (!ok) {
                throw new ShapeException("pad: before " + before + " after " + after + " for shape " + in.shape());
            }
            return List.of(new Spec(in.dtype(), Shape.of(dims)));
        }
    }

    /** Reverses the order along the given axes. */
    record Flip(List<Integer> axes) implements Movement {
        public Flip {
            axes = List.copyOf(axes);
        }

        @Override
        public List<Spec> infer(List<Spec> inputs) {
            axes.forEach(axis -> inputs.getFirst().shape().axis("flip", axis));
            return List.of(inputs.getFirst());
        }
    }

    /** Joins any number of tensors along an existing axis; all other extents and the dtypes are equal. */
    record Concat(int axis) implements Movement {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            if (inputs.isEmpty()) {
                throw new ShapeException("concat: no tensors");
            }
            Spec first = inputs.getFirst();
            first.shape().axis("concat", axis);
            long extent = 0;
            for (Spec in : inputs) {
                if (in.dtype() != first.dtype() || in.shape().rank() != first.shape().rank()
                        || !in.shape().with(axis, 0).equals(first.shape().with(axis, 0))) {
                    throw new ShapeException("concat: " + first + " with " + in + " along axis " + axis);
                }
                extent += in.shape().dim(axis);
            }
            return List.of(new Spec(first.dtype(), first.shape().with(axis, extent)));
        }
    }

    /** The first of two tensors, but only once the second exists: said of values that should be computed again, and late. */
    record After() implements Movement {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return List.of(inputs.getFirst());
        }
    }

    @Override
    default String name() {
        return getClass().getSimpleName().toLowerCase(java.util.Locale.ROOT);
    }
}
