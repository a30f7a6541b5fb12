// Reductions on the CPU. The order in which elements are combined follows from shape and axes alone, so a sum has the same
// bits whatever the layout of its operand, the number of threads, and whether its operand was computed along the way.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Reduces an expression over axes. Neighbouring reduced axes count as one; several such groups are reduced one after the
 * other, from the innermost. Within a group {@link Reduction} says the order. The 16-bit floats are accumulated in f32,
 * integers and truth values in i64. Rounding errors grow with the logarithm of the length, beyond those of
 * the 32 elements that are summed one by one.
 */
public final class ReduceKernel implements Kernel {
    private static final long ALIGNMENT = 64;

    /** Part of the work, given the addresses of its operands and of its scratch memory. */
    private interface Work {
        void run(long[] bases, long scratch);
    }

    private record Step(Work work, int[] operands, long[] bases) {}

    private final int inputs;
    private final int threads;
    private final List<Step> steps = new ArrayList<>();
    private final List<Long> temporaries = new ArrayList<>(); // offsets in the workspace
    private long temporaryBytes;
    private long scratchBytes;

    /**
     * A kernel.
     *
     * @param prologue one expression over the inputs: what is reduced
     * @param shape of what is reduced
     * @param inputs layouts, expanded to {@code shape}
     * @param axes the axes to reduce, ascending
     * @param output the layout of the result, of {@code shape} with extent 1 along the axes
     * @throws ShapeException if a maximum or minimum over no elements is asked for
     */
    public static ReduceKernel of(Reduce.Kind kind, List<Expr> prologue, Shape shape, List<Layout> inputs, List<Integer> axes,
            Layout output) {
        return of(kind, prologue, shape, inputs, axes, output, WorkerPool.shared().threads());
    }

    /** A kernel whose work is split as for that many threads. */
    public static ReduceKernel of(Reduce.Kind kind, List<Expr> prologue, Shape shape, List<Layout> inputs, List<Integer> axes,
            Layout output, int threads) {
        ReduceKernel kernel = new ReduceKernel(inputs.size(), threads);
        kernel.plan(kind, Program.simplify(prologue.getFirst()), shape, inputs, axes, output);
        return kernel;
    }

    private ReduceKernel(int inputs, int threads) {
        this.inputs = inputs;
        this.threads = threads;
    }

    private void plan(Reduce.Kind kind, Expr prologue, Shape shape, List<Layout> layouts, List<Integer> axes, Layout output) {
        if (output.shape().elements() == 0) {
            return;
        }
        DType accumulator = prologue.dtype().isFloat() ? prologue.dtype().computeType() : DType.I64;
        boolean arg = kind == Reduce.Kind.ARGMAX || kind == Reduce.Kind.ARGMIN;
        if (shape.elements() == 0) {
            boolean sum = kind == Reduce.Kind.SUM || kind == Reduce.Kind.MEAN;
            if (!sum && kind != Reduce.Kind.PROD) {
                throw new ShapeException(kind + ": no elements in " + shape + " along axes " + axes);
            }
            finish(kind, Expr.constant(sum ? 0 : 1, accumulator), 0, List.of(), new int[0], output);
            return;
        }
        Operand operand = new Operand(prologue.cast(accumulator), shape, layouts, IntStream.range(0, inputs).toArray());
        operand = operand.withoutUnused();
        if (arg) {
            planArg(kind == Reduce.Kind.ARGMAX, operand, axes.getFirst(), output);
            return;
        }
        Reduce.Kind combining = kind == Reduce.Kind.MEAN ? Reduce.Kind.SUM : kind;
        Reduction loops = Reduction.of(combining, accumulator);
        for (int[] group = lastGroup(operand.shape, axes); group != null; group = lastGroup(operand.shape, axes)) {
            List<Stage> stages = Stage.of(List.of(operand.value), operand.layouts.size());
            if (stages.size() > 1 || !operand.isOneRun(group)) {
                operand = materialize(operand, new Layout(accumulator, operand.shape, operand.shape.strides(), 0));
                stages = Stage.of(List.of(operand.value), 1);
            }
            ReducePass pass = new ReducePass(loops, operand.value, stages.getFirst().vector(), operand.shape, operand.layouts,
                    group[0], group[1], threads);
            boolean last = lastGroup(pass.output().shape(), axes) == null && kind != Reduce.Kind.MEAN
                    && pass.output().dtype() == output.dtype() && pass.output().matches(output.strides());
            int to = last ? inputs : temporary(pass.output());
            add(pass::run, pass.scratchBytes(), operand.places, to);
            if (last) {
                return;
            }
            operand = Operand.stored(pass.output(), to);
        }
        finish(kind, operand.value, shape.elements() / output.shape().elements(), operand.layouts, operand.places, output);
    }

    /** What is left to be reduced: an expression over layouts, and where the layouts' elements are. */
    private record Operand(Expr value, Shape shape, List<Layout> layouts, int[] places) {
        static Operand stored(Layout layout, int place) {
            return new Operand(new Expr.Input(0, layout.dtype()), layout.shape(), List.of(layout), new int[] {place});
        }

        Operand withoutUnused() {
            List<Integer> used = Program.uses(List.of(value)).keySet().stream().filter(Expr.Input.class::isInstance)
                    .map(e -> ((Expr.Input) e).index()).sorted().distinct().toList();
            Expr[] renumbered = new Expr[layouts.size()];
            for (int i = 0; i < used.size(); i++) {
                renumbered[used.get(i)] = new Expr.Input(i, layouts.get(used.get(i)).dtype());
            }
            return new Operand(value.substitute(renumbered), shape, used.stream().map(layouts::get).toList(),
                    used.stream().mapToInt(i -> places[i]).toArray());
        }

        /** Whether axes {@code group[0]} to {@code group[1]} can be walked as one. */
        boolean isOneRun(int[] group) {
            return layouts.stream().allMatch(layout -> {
                long expected = 0;
                boolean first = true;
                for (int i = group[1]; i >= group[0]; i--) {
                    if (shape.dim(i) > 1) {
                        if (!first && layout.stride(i) != expected) {
                            return false;
                        }
                        expected = layout.stride(i) * shape.dim(i);
                        first = false;
                    }
                }
                return true;
            });
        }
    }

    /** First and last axis of the innermost run of axes to be reduced that have more than one element; null if there is none. */
    private static int[] lastGroup(Shape shape, List<Integer> axes) {
        int last = -1;
        int first = -1;
        for (int i = shape.rank() - 1; i >= 0; i--) {
            if (shape.dim(i) == 1) {
                continue;
            }
            if (axes.contains(i)) {
                last = last < 0 ? i : last;
                first = i;
            } else if (last >= 0) {
                break;
            }
        }
        return last < 0 ? null : new int[] {first, last};
    }

    private Operand materialize(Operand operand, Layout layout) {
        int to = temporary(layout);
        elementwise(operand.value, operand.layouts, operand.places, layout, to);
        return Operand.stored(layout, to);
    }

    private void planArg(boolean max, Operand operand, int axis, Layout output) {
        Operand values = operand;
        boolean run = operand.value instanceof Expr.Input
                && (operand.layouts.getFirst().stride(axis) == 1 || operand.shape.dim(axis) == 1);
        if (!run) {
            long[] strides = operand.shape.with(axis, 1).strides();
            for (int i = 0; i < strides.length; i++) {
                strides[i] = i == axis ? 1 : strides[i] * operand.shape.dim(axis);
            }
            values = materialize(operand, new Layout(operand.value.dtype(), operand.shape, strides, 0));
        }
        ArgPass pass = new ArgPass(max, values.layouts.getFirst(), axis, output, threads);
        add((bases, scratch) -> pass.run(bases[0], bases[1]), 0, values.places, inputs);
    }

    /** The result in its dtype and place, divided if it is a mean. */
    private void finish(Reduce.Kind kind, Expr value, long count, List<Layout> layouts, int[] places, Layout output) {
        elementwise(Reduction.result(kind, value, count, output.dtype()), layouts, places, output, inputs);
    }

    private void elementwise(Expr value, List<Layout> layouts, int[] places, Layout output, int to) {
        ElementwiseKernel kernel = ElementwiseKernel.of(List.of(value), output.shape(), layouts, List.of(output), threads);
        long[] addresses = new long[layouts.size() + 2];
        add((bases, scratch) -> {
            System.arraycopy(bases, 0, addresses, 0, bases.length);
            addresses[bases.length] = scratch;
            kernel.run(addresses);
        }, kernel.workspaceBytes(), places, to);
    }

    private int temporary(Layout layout) {
        temporaries.add(temporaryBytes);
        temporaryBytes += (layout.spec().bytes() + ALIGNMENT - 1) & -ALIGNMENT;
        return inputs + temporaries.size();
    }

    private void add(Work work, long scratch, int[] from, int to) {
        int[] operands = Arrays.copyOf(from, from.length + 1);
        operands[from.length] = to;
        steps.add(new Step(work, operands, new long[operands.length]));
        scratchBytes = Math.max(scratchBytes, scratch);
    }

    @Override
    public long workspaceBytes() {
        return temporaryBytes + scratchBytes;
    }

    @Override
    public void run(long[] addresses) {
        long workspace = temporaryBytes + scratchBytes == 0 ? 0 : addresses[inputs + 1];
        for (int i = 0; i < steps.size(); i++) {
            Step step = steps.get(i);
            for (int k = 0; k < step.bases.length; k++) {
                int operand = step.operands[k];
                step.bases[k] = operand <= inputs ? addresses[operand] : workspace + temporaries.get(operand - inputs - 1);
            }
            step.work.run(step.bases, workspace + temporaryBytes);
        }
    }
}
