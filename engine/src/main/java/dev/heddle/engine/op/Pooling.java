// Max and average pooling and their gradients.
package dev.heddle.engine.op;

import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * Pooling over the last {@code d} axes of {@code x (N, C, *X)}, {@code d} from 1 to 3. Padding never wins a maximum. Of
 * equal maxima the first in row-major order counts; a NaN counts as the maximum.
 *
 * @param direction {@code FORWARD: x -> y}; {@code BACKWARD}: max {@code (x, dy) -> dx}, average {@code dy -> dx};
 *     {@code GATHER} (max only): {@code (x, v) -> u}, the elements of {@code v}, shaped as {@code x}, at the places of
 *     the maxima of {@code x}: the gradient of {@code BACKWARD}
 * @param kernel taps along each spatial axis
 * @param countPadding whether an average divides by the full window also at the edges
 * @param target {@code x}'s shape for {@code BACKWARD}, else null
 */
public record Pooling(Kind kind, Direction direction, List<Integer> kernel, Window window, boolean countPadding,
        Shape target) implements Op {
    /** What a window becomes. */
    public enum Kind { MAX, AVG }

    /** See {@link Pooling}. */
    public enum Direction { FORWARD, BACKWARD, GATHER }

    public Pooling {
        kernel = List.copyOf(kernel);
    }

    /** The same pooling in another direction. */
    public Pooling with(Direction direction, Shape target) {
        return new Pooling(kind, direction, kernel, window, countPadding, target);
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec first = inputs.getFirst();
        if (!first.dtype().isFloat()) {
            throw new ShapeException(name() + ": needs a float tensor, got " + first);
        }
        Shape x = direction == Direction.BACKWARD ? target : first.shape();
        Shape y = outputShape(x);
        Spec last = inputs.getLast();
        if (direction == Direction.BACKWARD && !last.shape().equals(y)
                || inputs.size() == 2 && (last.dtype() != first.dtype() || !first.shape().equals(x))
                || direction == Direction.GATHER && !last.shape().equals(x)) {
            throw new ShapeException(name() + ": inputs " + inputs + " for pooling " + x + " to " + y);
        }
        return List.of(new Spec(first.dtype(), direction == Direction.BACKWARD ? x : y));
    }

    /** {@code y}'s shape from {@code x}'s. */
    public Shape outputShape(Shape x) {
        int d = window.dims();
        if (x.rank() != d + 2 || kernel.size() != d) {
            throw new ShapeException(name() + ": input " + x + " with kernel " + kernel + ", " + d + "-d");
        }
        long[] dims = x.dims();
        for (int i = 0; i < d; i++) {
            dims[i + 2] = window.outputs(name(), i, dims[i + 2], kernel.get(i));
            if (window.before().get(i) >= kernel.get(i) || window.after().get(i) >= kernel.get(i)) {
                throw new ShapeException(name() + ": padding " + window.before() + " must be less than the kernel " + kernel);
            }
        }
        return Shape.of(dims);
    }

    @Override
    public String name() {
        String base = (kind == Kind.MAX ? "max_pool" : "avg_pool") + window.dims() + "d";
        return direction == Direction.FORWARD ? base : base + "_" + direction.name().toLowerCase(java.util.Locale.ROOT);
    }
}
