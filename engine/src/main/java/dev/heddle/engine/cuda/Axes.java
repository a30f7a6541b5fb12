// The axes that a generated kernel walks: as few as the strides of its operands allow.
package dev.heddle.engine.cuda;

import dev.heddle.engine.Shape;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.List;

/**
 * Axes of several operands walked together, outermost first.
 *
 * @param extents of the axes
 * @param strides by operand, then by axis, in elements
 */
record Axes(List<Long> extents, List<List<Long>> strides) {
    /**
     * The given axes of a shape, extents of 1 left out, ordered so that the leading operand is walked through memory in
     * order, neighbours joined where all operands allow.
     *
     * @param operands of that shape, strides 0 where they are repeated
     * @param leading the operand that says the order; -1 keeps the order of the axes
     */
    static Axes of(Shape shape, List<Integer> axes, List<Layout> operands, int leading) {
        List<Integer> order = new ArrayList<>(axes.stream().filter(i -> shape.dim(i) != 1).toList());
        if (leading >= 0) {
            Layout by = operands.get(leading);
            order.sort((i, j) -> Long.compare(Math.abs(by.stride(j)), Math.abs(by.stride(i))));
        }
        List<Long> extents = new ArrayList<>();
        List<List<Long>> strides = new ArrayList<>();
        operands.forEach(x -> strides.add(new ArrayList<>()));
        for (int axis : order) {
            int last = extents.size() - 1;
            boolean joins = last >= 0;
            for (int k = 0; joins && k < operands.size(); k++) {
                joins = strides.get(k).getLast() == operands.get(k).stride(axis) * shape.dim(axis);
            }
            if (joins) {
                extents.set(last, extents.get(last) * shape.dim(axis));
            } else {
                extents.add(shape.dim(axis));
            }
            for (int k = 0; k < operands.size(); k++) {
                if (joins) {
                    strides.get(k).removeLast();
                }
                strides.get(k).add(operands.get(k).stride(axis));
            }
        }
        return new Axes(extents, strides);
    }

    /** Number of axes. */
    int rank() {
        return extents.size();
    }

    /** Number of elements. */
    long elements() {
        return extents.stream().reduce(1L, (a, b) -> a * b);
    }

    /** The stride of an operand along the innermost axis, 0 if there are no axes. */
    long innermost(int operand) {
        return extents.isEmpty() ? 0 : strides.get(operand).getLast();
    }
}
