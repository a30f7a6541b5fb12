// Convolution (cross-correlation, as the field has it) and its two gradients, which are each other's gradients again.
package dev.heddle.engine.op;

import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * N-d convolution, {@code d} from 1 to 3, with {@code x (N, C, *X)}, {@code w (O, C/groups, *K)}, {@code y (N, O, *Y)}.
 *
 * @param direction {@code FORWARD: (x, w) -> y}; {@code BACKWARD_DATA: (dy, w) -> dx}, which is also transposed
 *     convolution; {@code BACKWARD_WEIGHTS: (x, dy) -> dw}
 * @param groups divides {@code C} and {@code O}
 * @param target the shape of the result for the two backward directions (it is not determined by their inputs), null for
 *     {@code FORWARD}
 */
public record Convolution(Direction direction, Window window, int groups, Shape target) implements Op {
    /** Which of the three tensors is computed from the other two. */
    public enum Direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS }

    /** The forward op. */
    public static Convolution forward(Window window, int groups) {
        return new Convolution(Direction.FORWARD, window, groups, null);
    }

    /** The gradient in {@code direction} of this convolution, with a result of the given shape. */
    public Convolution backward(Direction direction, Shape target) {
        return new Convolution(direction, window, groups, direction == Direction.FORWARD ? null : target);
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec a = inputs.get(0);
        Spec b = inputs.get(1);
        if (a.dtype() != b.dtype() || !a.dtype().isFloat()) {
            throw new ShapeException(name() + ": needs two float tensors of one dtype, got " + a + " and " + b);
        }
        Shape result = switch (direction) {
            case FORWARD -> outputShape(a.shape(), b.shape());
            case BACKWARD_DATA -> {
                requireSame(a.shape(), outputShape(target, b.shape()));
                yield target;
            }
            case BACKWARD_WEIGHTS -> {
                requireSame(b.shape(), outputShape(a.shape(), target));
                yield target;
            }
        };
        return List.of(new Spec(a.dtype(), result));
    }

    /** {@code y}'s shape from {@code x}'s and {@code w}'s. */
    public Shape outputShape(Shape x, Shape w) {
        int d = window.dims();
        if (x.rank() != d + 2 || w.rank() != d + 2 || groups < 1 || w.dim(0) % groups != 0
                || w.dim(1) * groups != x.dim(1)) {
            throw new ShapeException(name() + ": input " + x + " with weight " + w + ", " + groups + " groups, " + d + "-d");
        }
        long[] dims = new long[d + 2];
        dims[0] = x.dim(0);
        dims[1] = w.dim(0);
        for (int i = 0; i < d; i++) {
            dims[i + 2] = window.outputs(name(), i, x.dim(i + 2), w.dim(i + 2));
        }
        return Shape.of(dims);
    }

    private void requireSame(Shape gradient, Shape expected) {
        if (!gradient.equals(expected)) {
            throw new ShapeException(name() + ": gradient " + gradient + " where " + expected + " was expected");
        }
    }

    @Override
    public String name() {
        return switch (direction) {
            case FORWARD -> "conv" + window.dims() + "d";
            case BACKWARD_DATA -> "conv" + window.dims() + "d_backward_data";
            case BACKWARD_WEIGHTS -> "conv" + window.dims() + "d_backward_weights";
        };
    }
}
