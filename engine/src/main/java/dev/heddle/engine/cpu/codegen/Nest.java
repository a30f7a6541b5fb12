// The order in which a kernel walks over its elements: a loop nest made of the axes of a shape, as few and as long as the
// strides of all operands allow.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.Shape;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Axes, outermost first, with the stride of every operand along each. The last is the inner axis, the one before it the
 * row axis; both always exist.
 *
 * @param extents the extent of each axis
 * @param strides for each operand and axis, in bytes
 * @param offsets for each operand, the bytes from its first element to where the walk begins: not 0 where an axis is
 *     walked backwards
 */
record Nest(long[] extents, long[][] strides, long[] offsets) {

    private record Axis(long extent, long[] strides) {}

    /**
     * The nest for operands of one shape. Axes are ordered by the strides of the leading operand, which must repeat no
     * element; an axis along which it is flipped is walked backwards.
     *
     * @param elementBytes of each operand
     * @param lead index of the operand that decides
     */
    static Nest of(Shape shape, List<Layout> operands, int lead) {
        int count = operands.size();
        long[] offsets = new long[count];
        List<Axis> axes = new ArrayList<>();
        for (int i = 0; i < shape.rank(); i++) {
            long extent = shape.dim(i);
            if (extent == 1) {
                continue;
            }
            long[] strides = new long[count];
            boolean backwards = operands.get(lead).stride(i) < 0;
            for (int k = 0; k < count; k++) {
                strides[k] = operands.get(k).stride(i) * operands.get(k).dtype().bytes();
                if (backwards) {
                    offsets[k] += strides[k] * (extent - 1);
                    strides[k] = -strides[k];
                }
            }
            axes.add(new Axis(extent, strides));
        }
        axes.sort(Comparator.comparing((Axis axis) -> axis.strides[lead]).reversed());
        List<Axis> merged = merge(axes);
        while (merged.size() < 2) {
            merged.addFirst(new Axis(1, new long[count]));
        }
        chooseRows(merged, operands);
        long[] extents = merged.stream().mapToLong(Axis::extent).toArray();
        long[][] strides = new long[count][];
        for (int k = 0; k < count; k++) {
            int operand = k;
            strides[k] = merged.stream().mapToLong(axis -> axis.strides[operand]).toArray();
        }
        return new Nest(extents, strides, offsets);
    }

    /** Joins neighbours that are one run for every operand. */
    private static List<Axis> merge(List<Axis> axes) {
        List<Axis> merged = new ArrayList<>();
        for (Axis axis : axes) {
            Axis outer = merged.isEmpty() ? null : merged.getLast();
            boolean joined = outer != null;
            for (int k = 0; joined && k < axis.strides.length; k++) {
                joined = outer.strides[k] == axis.strides[k] * axis.extent;
            }
            if (joined) {
                merged.set(merged.size() - 1, new Axis(outer.extent * axis.extent, axis.strides));
            } else {
                merged.add(axis);
            }
        }
        return merged;
    }

    /** Where an operand is strided along the inner axis but contiguous along another, makes that one the row axis. */
    private static void chooseRows(List<Axis> axes, List<Layout> operands) {
        Axis inner = axes.getLast();
        for (int k = 0; k < operands.size(); k++) {
            long bytes = operands.get(k).dtype().bytes();
            if (inner.strides[k] == 0 || inner.strides[k] == bytes) {
                continue;
            }
            for (int i = 0; i < axes.size() - 1; i++) {
                if (axes.get(i).strides[k] == bytes) {
                    axes.add(axes.size() - 2, axes.remove(i));
                    return;
                }
            }
        }
    }

    int rank() {
        return extents.length;
    }

    /** Elements along the inner axis. */
    long inner() {
        return extents[extents.length - 1];
    }

    /** Steps along the row axis. */
    long rows() {
        return extents[extents.length - 2];
    }

    /** Number of (row, inner) planes. */
    long planes() {
        long planes = 1;
        for (int i = 0; i < extents.length - 2; i++) {
            planes *= extents[i];
        }
        return planes;
    }

    long innerStride(int operand) {
        return strides[operand][extents.length - 1];
    }

    long rowStride(int operand) {
        return strides[operand][extents.length - 2];
    }

    /** Bytes from where the walk begins to the start of a plane. */
    long planeOffset(int operand, long plane) {
        long offset = offsets[operand];
        for (int i = extents.length - 3; i >= 0; i--) {
            offset += plane % extents[i] * strides[operand][i];
            plane /= extents[i];
        }
        return offset;
    }
}
