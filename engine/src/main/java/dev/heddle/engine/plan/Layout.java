// How the elements of a tensor lie in memory. Movement ops become layouts wherever one can say what they do.
package dev.heddle.engine.plan;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Spec;
import java.util.Arrays;
import java.util.OptionalLong;

/**
 * A strided view: element {@code (i0, i1, ...)} of {@code shape} lies {@code offset + sum(ik * strides[k])} elements
 * behind the start of the buffer. Strides may be 0 (broadcast) and negative (flipped).
 */
public final class Layout {
    private final DType dtype;
    private final Shape shape;
    private final long[] strides;
    private final long offset;

    /** A view of the given strides and offset, both in elements. */
    public Layout(DType dtype, Shape shape, long[] strides, long offset) {
        if (strides.length != shape.rank()) {
            throw new IllegalArgumentException("layout: " + strides.length + " strides for shape " + shape);
        }
        this.dtype = dtype;
        this.shape = shape;
        this.strides = strides.clone();
        this.offset = offset;
    }

    /** Row-major, no offset. */
    public static Layout contiguous(Spec spec) {
        return new Layout(spec.dtype(), spec.shape(), spec.shape().strides(), 0);
    }

    /** {@code (N, C, *X)} with the channels innermost in memory: strides of {@code (N, *X, C)}. */
    public static Layout channelsLast(Spec spec) {
        Shape shape = spec.shape();
        long[] strides = new long[shape.rank()];
        strides[1] = 1;
        long stride = Math.max(1, shape.dim(1));
        for (int i = shape.rank() - 1; i >= 2; i--) {
            strides[i] = stride;
            stride *= Math.max(1, shape.dim(i));
        }
        strides[0] = stride;
        return new Layout(spec.dtype(), shape, strides, 0);
    }

    /** Element type. */
    public DType dtype() {
        return dtype;
    }

    /** Extents. */
    public Shape shape() {
        return shape;
    }

    /** Dtype and shape. */
    public Spec spec() {
        return new Spec(dtype, shape);
    }

    /** Distance along each axis, in elements; not a copy, not to be written. */
    public long[] strides() {
        return strides;
    }

    /** Distance along one axis in {@code [0, rank)}, in elements. */
    public long stride(int axis) {
        return strides[axis];
    }

    /** Place of the first element, in elements. */
    public long offset() {
        return offset;
    }

    /** Place of the first element, in bytes. */
    public long byteOffset() {
        return offset * dtype.bytes();
    }

    /** Whether the elements lie in row-major order without gaps (the offset may be anything). */
    public boolean isContiguous() {
        return matches(shape.strides());
    }

    /** Whether the elements of a tensor of rank 3 or more lie in {@code (N, *X, C)} order without gaps. */
    public boolean isChannelsLast() {
        return shape.rank() >= 3 && matches(channelsLast(spec()).strides);
    }

    /** Whether the strides are these, along all axes longer than 1. */
    public boolean matches(long[] other) {
        for (int i = 0; i < strides.length; i++) {
            if (shape.dim(i) > 1 && strides[i] != other[i]) {
                return false;
            }
        }
        return true;
    }

    /** Whether the elements fill a block of memory exactly once, in any order of the axes. */
    public boolean isDense() {
        Integer[] order = new Integer[strides.length];
        Arrays.setAll(order, i -> i);
        Arrays.sort(order, (a, b) -> Long.compare(strides[a], strides[b]));
        long expected = 1;
        for (int axis : order) {
            if (shape.dim(axis) > 1) {
                if (strides[axis] != expected) {
                    return false;
                }
                expected *= shape.dim(axis);
            }
        }
        return true;
    }

    /** Distance, in elements, between neighbours along the first {@code leading} axes taken as one; empty if they are not one run. */
    public OptionalLong rowStride(int leading) {
        long stride = 0;
        long expected = 0;
        boolean first = true;
        for (int i = leading - 1; i >= 0; i--) {
            if (shape.dim(i) == 1) {
                continue;
            }
            if (first) {
                stride = strides[i];
                first = false;
            } else if (strides[i] != expected) {
                return OptionalLong.empty();
            }
            expected = strides[i] * shape.dim(i);
        }
        return OptionalLong.of(stride);
    }

    /** {@code rows} neighbours along the first {@code leading} axes, which must be one run unless it is one; without the offset. */
    public Layout rows(int leading, long rows) {
        Shape block = shape;
        long[] moved = strides.clone();
        for (int i = 0; i < leading; i++) {
            block = block.with(i, i == leading - 1 ? rows : 1);
        }
        moved[leading - 1] = rowStride(leading).orElse(0);
        return new Layout(dtype, block, moved, 0);
    }

    /** The view under another order of the axes: output axis {@code i} is this one's {@code order[i]}. */
    public Layout permute(int[] order) {
        long[] dims = new long[order.length];
        long[] moved = new long[order.length];
        for (int i = 0; i < order.length; i++) {
            dims[i] = shape.dim(order[i]);
            moved[i] = strides[order[i]];
        }
        return new Layout(dtype, Shape.of(dims), moved, offset);
    }

    /** The view broadcast to a shape: stride 0 along new and repeated axes. */
    public Layout expand(Shape to) {
        long[] widened = new long[to.rank()];
        int lead = to.rank() - shape.rank();
        for (int i = lead; i < to.rank(); i++) {
            widened[i] = shape.dim(i - lead) == to.dim(i) ? strides[i - lead] : 0;
        }
        return new Layout(dtype, to, widened, offset);
    }

    /** Every {@code steps[i]}-th element from {@code starts[i]}, {@code lengths[i]} of them. */
    public Layout slice(long[] starts, long[] lengths, long[] steps) {
        long[] stepped = new long[strides.length];
        long start = offset;
        for (int i = 0; i < strides.length; i++) {
            stepped[i] = strides[i] * steps[i];
            start += strides[i] * starts[i];
        }
        return new Layout(dtype, Shape.of(lengths), stepped, shape.elements() == 0 ? offset : start);
    }

    /** The view with the order along an axis reversed. */
    public Layout flip(int axis) {
        if (shape.dim(axis) == 0) {
            return this;
        }
        long[] reversed = strides.clone();
        reversed[axis] = -reversed[axis];
        return new Layout(dtype, shape, reversed, offset + strides[axis] * (shape.dim(axis) - 1));
    }

    /** The same elements in row-major order under another shape, or null if no strides can say that. */
    public Layout reshape(Shape to) {
        if (shape.elements() == 0 || to.equals(shape)) {
            return to.equals(shape) ? this : new Layout(dtype, to, to.strides(), offset);
        }
        long[] result = new long[to.rank()];
        int from = 0; // first axis of the current group in this shape; groups have equal numbers of elements
        int into = 0;
        int rank = shape.rank();
        while (from < rank || into < to.rank()) {
            int fromEnd = from;
            int intoEnd = into;
            long have = fromEnd < rank ? shape.dim(fromEnd++) : 1;
            long want = intoEnd < to.rank() ? to.dim(intoEnd++) : 1;
            while (have != want) {
                if (have < want) {
                    have *= shape.dim(fromEnd++);
                } else {
                    want *= to.dim(intoEnd++);
                }
            }
            long stride = 0;
            long expected = -1; // stride that the next outer axis must have for the group to be one run
            boolean first = true;
            for (int i = fromEnd - 1; i >= from; i--) {
                if (shape.dim(i) == 1) {
                    continue;
                }
                if (first) {
                    stride = strides[i];
                    first = false;
                } else if (strides[i] != expected) {
                    return null;
                }
                expected = strides[i] * shape.dim(i);
            }
            for (int i = intoEnd - 1; i >= into; i--) {
                result[i] = stride;
                stride *= to.dim(i);
            }
            from = fromEnd;
            into = intoEnd;
        }
        return new Layout(dtype, to, result, offset);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Layout that && dtype == that.dtype && offset == that.offset && shape.equals(that.shape)
                && Arrays.equals(strides, that.strides);
    }

    @Override
    public int hashCode() {
        return 31 * (31 * shape.hashCode() + Arrays.hashCode(strides)) + Long.hashCode(offset) + dtype.ordinal();
    }

    @Override
    public String toString() {
        return spec() + (isContiguous() ? "" : isChannelsLast() ? " channels-last" : " strides " + Arrays.toString(strides));
    }
}
