// Reductions over axes.
package dev.heddle.engine.op;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * A reduction of one input over {@code axes}. Sums of 16-bit floats are accumulated in {@code F32}. A sum of
 * {@code BOOL} or integers is {@code I64}; {@code MEAN} needs a float. {@code ARGMAX} and {@code ARGMIN} take exactly one
 * axis, give {@code I64} and the first place among equals (a NaN counts as the extreme). Over an empty axis {@code SUM}
 * is 0, {@code PROD} 1, {@code MEAN} NaN; the others have no value and are refused.
 *
 * @param axes ascending, in {@code [0, rank)}, no duplicates
 * @param keepDims whether reduced axes stay, with extent 1
 */
public record Reduce(Kind kind, List<Integer> axes, boolean keepDims) implements Op {
    /** What is computed. */
    public enum Kind { SUM, MEAN, MAX, MIN, PROD, ARGMAX, ARGMIN }

    public Reduce {
        axes = List.copyOf(axes);
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec in = inputs.getFirst();
        Shape shape = in.shape();
        boolean arg = kind == Kind.ARGMAX || kind == Kind.ARGMIN;
        if (kind == Kind.MEAN && !in.dtype().isFloat()) {
            throw new ShapeException("mean: needs a float dtype, got " + in);
        }
        if (arg && axes.size() != 1) {
            throw new ShapeException(name() + ": takes exactly one axis, got " + axes);
        }
        long[] kept = new long[keepDims ? shape.rank() : shape.rank() - axes.size()];
        for (int i = 0, k = 0; i < shape.rank(); i++) {
            boolean reduced = axes.contains(i);
            if (reduced && shape.dim(i) == 0 && kind != Kind.SUM && kind != Kind.MEAN && kind != Kind.PROD) {
                throw new ShapeException(name() + ": axis " + i + " of " + shape + " is empty");
            }
            if (!reduced || keepDims) {
                kept[k++] = reduced ? 1 : shape.dim(i);
            }
        }
        DType dtype = arg ? DType.I64
                : (kind == Kind.SUM || kind == Kind.PROD) && !in.dtype().isFloat() ? DType.I64 : in.dtype();
        return List.of(new Spec(dtype, Shape.of(kept)));
    }

    /** The shape the reduction has with {@code keepDims}. */
    public Shape keptShape(Shape input) {
        Shape kept = input;
        for (int axis : axes) {
            kept = kept.with(axis, 1);
        }
        return kept;
    }

    @Override
    public String name() {
        return kind.name().toLowerCase(java.util.Locale.ROOT);
    }
}
