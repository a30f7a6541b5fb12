// The extents of a tensor, and the arithmetic of shapes that every op needs: broadcasting, axes, row-major strides.
package dev.heddle.engine;

import java.util.Arrays;

/**
 * Immutable extents of a tensor, outermost first. A scalar has rank 0 and one element; a dimension may be 0, and then
 * there are no elements.
 */
public final class Shape {
    /** The shape of a scalar: rank 0, one element. */
    public static final Shape SCALAR = new Shape(new long[0]);

    private final long[] dims;
    private final long elements;

    private Shape(long[] dims) {
        this.dims = dims;
        long product = 1;
        for (long dim : dims) {
            if (dim < 0) {
                throw new ShapeException("shape: negative dimension in " + Arrays.toString(dims));
            }
            try {
                product = Math.multiplyExact(product, dim);
            } catch (ArithmeticException overflow) {
                throw new ShapeException("shape: more elements than fit a long in " + Arrays.toString(dims));
            }
        }
        this.elements = product;
    }

    /**
     * A shape of the given dimensions.
     *
     * @throws ShapeException if one is negative, or the number of elements overflows a long
     */
    public static Shape of(long... dims) {
        return dims.length == 0 ? SCALAR : new Shape(dims.clone());
    }

    /** Number of dimensions. */
    public int rank() {
        return dims.length;
    }

    /**
     * The extent along an axis; negative axes count from the last.
     *
     * @throws ShapeException if the axis does not exist
     */
    public long dim(int axis) {
        return dims[axis("dim", axis)];
    }

    /** A copy of the dimensions. */
    public long[] dims() {
        return dims.clone();
    }

    /** Number of elements: the product of the dimensions, 1 for a scalar. */
    public long elements() {
        return elements;
    }

    /**
     * Turns a possibly negative axis into one in {@code [0, rank)}.
     *
     * @param operation named in the error
     * @throws ShapeException if the axis does not exist
     */
    public int axis(String operation, int axis) {
        int positive = axis < 0 ? axis + dims.length : axis;
        if (positive < 0 || positive >= dims.length) {
            throw new ShapeException(operation + ": axis " + axis + " does not exist in shape " + this);
        }
        return positive;
    }

    /** This shape with the extent along {@code axis} (in {@code [0, rank)}) replaced. */
    public Shape with(int axis, long dim) {
        long[] copy = dims.clone();
        copy[axis] = dim;
        return new Shape(copy);
    }

    /** The row-major strides, in elements. */
    public long[] strides() {
        long[] strides = new long[dims.length];
        long stride = 1;
        for (int i = dims.length - 1; i >= 0; i--) {
            strides[i] = stride;
            stride *= Math.max(1, dims[i]);
        }
        return strides;
    }

    /**
     * The shape both broadcast to: aligned at the last axis, extents equal or one of them 1.
     *
     * @param operation named in the error
     * @throws ShapeException if the shapes do not broadcast, naming both
     */
    public static Shape broadcast(String operation, Shape a, Shape b) {
        if (a.equals(b)) {
            return a;
        }
        int rank = Math.max(a.rank(), b.rank());
        long[] dims = new long[rank];
        for (int i = 1; i <= rank; i++) {
            long x = i <= a.rank() ? a.dims[a.rank() - i] : 1;
            long y = i <= b.rank() ? b.dims[b.rank() - i] : 1;
            if (x != y && x != 1 && y != 1) {
                throw new ShapeException(operation + ": shapes " + a + " and " + b + " do not broadcast: "
                        + x + " against " + y + " in axis -" + i);
            }
            dims[rank - i] = x == 1 ? y : x;
        }
        return new Shape(dims);
    }

    @Override
    public boolean equals(Object other) {
        return this == other || other instanceof Shape shape && Arrays.equals(dims, shape.dims);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(dims);
    }

    /** For example {@code (64, 1, 28, 28)}; {@code ()} for a scalar. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder("(");
        for (int i = 0; i < dims.length; i++) {
            text.append(i == 0 ? "" : ", ").append(dims[i]);
        }
        return text.append(')').toString();
    }
}
