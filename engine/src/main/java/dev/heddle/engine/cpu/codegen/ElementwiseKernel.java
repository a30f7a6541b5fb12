// Elementwise operations on the CPU: generated loops, walked over the strides of the operands by several threads.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.cpu.WorkerPool;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Computes one or more expressions for every element of a shape. Arithmetic in f32 (and the 16-bit floats, computed in
 * f32) is that of {@link VectorMath}; f64 goes through {@link StrictMath}; nothing is reassociated or contracted. The bits
 * of a result depend on the expression and its operands alone: not on layouts, threads, or what else is fused into the
 * kernel. An output may lie exactly where an input lies; otherwise they must not overlap.
 */
public final class ElementwiseKernel implements Kernel {
    private static final long ALIGNMENT = 64;

    /** A pass and where its operands are: an index into the addresses, or past those a temporary. */
    private record Step(Pass pass, int[] operands, long[] bases) {}

    /** A value between two stages: as large as the axes along which it varies. */
    private record Temporary(Layout layout, long offset) {}

    private final Step[] steps;
    private final int external;
    private final List<Temporary> temporaries = new ArrayList<>();
    private final long scratchOffset;
    private final long workspaceBytes;

    /**
     * A kernel.
     *
     * @param outputs one expression an output
     * @param shape the shape of all outputs
     * @param inputs layouts of the inputs, expanded to {@code shape}: stride 0 where they are repeated
     * @param outputLayouts layouts of the outputs, in which no two elements share a place
     */
    public static ElementwiseKernel of(List<Expr> outputs, Shape shape, List<Layout> inputs, List<Layout> outputLayouts) {
        return of(outputs, shape, inputs, outputLayouts, WorkerPool.shared().threads());
    }

    /** A kernel whose work is split as for that many threads. */
    public static ElementwiseKernel of(List<Expr> outputs, Shape shape, List<Layout> inputs, List<Layout> outputLayouts, int threads) {
        return new ElementwiseKernel(outputs.stream().map(Program::simplify).toList(), shape, inputs, outputLayouts, threads);
    }

    private ElementwiseKernel(List<Expr> outputs, Shape shape, List<Layout> inputs, List<Layout> outputLayouts, int threads) {
        external = inputs.size() + outputs.size();
        List<Step> steps = new ArrayList<>();
        List<Layout> known = new ArrayList<>(inputs); // then those of temporaries
        long workspace = 0;
        for (Stage stage : shape.elements() == 0 ? List.<Stage>of() : Stage.of(outputs, inputs.size())) {
            Map<Shape, List<Integer>> groups = new LinkedHashMap<>(); // outputs of the stage by what axes they vary along
            for (int i = 0; i < stage.outputs().size(); i++) {
                Shape varying = shape;
                if (stage.results().get(i) >= outputs.size()) {
                    varying = varying(stage.outputs().get(i), shape, known);
                    Layout layout = dense(stage.outputs().get(i).dtype(), varying, shape, outputLayouts.getFirst());
                    temporaries.add(new Temporary(layout, workspace));
                    workspace += aligned(layout.spec().bytes());
                }
                groups.computeIfAbsent(varying, none -> new ArrayList<>()).add(i);
            }
            groups.forEach((varying, members) -> steps.add(step(stage, members, varying, known, outputLayouts, threads)));
            while (known.size() < inputs.size() + temporaries.size()) {
                known.add(temporaries.get(known.size() - inputs.size()).layout.expand(shape));
            }
        }
        this.steps = steps.toArray(Step[]::new);
        scratchOffset = workspace;
        workspaceBytes = workspace + steps.stream().mapToLong(step -> step.pass.scratchBytes()).max().orElse(0);
    }

    /** The pass that computes some outputs of a stage, all of one shape. */
    private Step step(Stage stage, List<Integer> members, Shape shape, List<Layout> known, List<Layout> outputLayouts,
            int threads) {
        List<Expr> outputs = members.stream().map(stage.outputs()::get).toList();
        int inputs = external - outputLayouts.size();
        List<Integer> used = inputsOf(outputs);
        List<Integer> operands = new ArrayList<>();
        List<Layout> from = new ArrayList<>();
        List<Layout> to = new ArrayList<>();
        Expr[] renumbered = new Expr[used.isEmpty() ? 0 : used.getLast() + 1];
        for (int index : used) {
            Layout layout = known.get(index);
            renumbered[index] = new Expr.Input(from.size(), layout.dtype());
            from.add(new Layout(layout.dtype(), shape, layout.strides(), layout.offset()));
            operands.add(index < inputs ? index : index + outputLayouts.size());
        }
        for (int member : members) {
            int result = stage.results().get(member);
            to.add(result < outputLayouts.size() ? outputLayouts.get(result)
                    : temporaries.get(result - outputLayouts.size()).layout);
            operands.add(inputs + result);
        }
        List<Expr> expressions = outputs.stream().map(e -> e.substitute(renumbered)).toList();
        Pass pass = new Pass(stage.vector(), expressions, shape, from, to, threads);
        return new Step(pass, operands.stream().mapToInt(Integer::intValue).toArray(), new long[operands.size()]);
    }

    private static List<Integer> inputsOf(List<Expr> outputs) {
        return Program.uses(outputs).keySet().stream().filter(Expr.Input.class::isInstance)
                .map(e -> ((Expr.Input) e).index()).sorted().distinct().toList();
    }

    /** The shape without the axes along which all inputs of an expression are repeated. */
    private static Shape varying(Expr e, Shape shape, List<Layout> inputs) {
        long[] dims = new long[shape.rank()];
        Arrays.fill(dims, 1);
        for (int input : inputsOf(List.of(e))) {
            for (int i = 0; i < dims.length; i++) {
                dims[i] = inputs.get(input).stride(i) == 0 ? dims[i] : shape.dim(i);
            }
        }
        return Shape.of(dims);
    }

    /** The layout of a temporary: like the output if it can be, so that both are walked in one order. */
    private static Layout dense(DType dtype, Shape shape, Shape outputShape, Layout output) {
        boolean alike = shape.equals(outputShape) && output.isDense();
        return new Layout(dtype, shape, alike ? output.strides() : shape.strides(), 0);
    }

    private static long aligned(long bytes) {
        return (bytes + ALIGNMENT - 1) & -ALIGNMENT;
    }

    @Override
    public long workspaceBytes() {
        return workspaceBytes;
    }

    @Override
    public void run(long[] addresses) {
        long workspace = workspaceBytes == 0 ? 0 : addresses[external];
        for (Step step : steps) {
            for (int k = 0; k < step.bases.length; k++) {
                int operand = step.operands[k];
                step.bases[k] = operand < external ? addresses[operand] : workspace + temporaries.get(operand - external).offset;
            }
            step.pass.run(step.bases, workspace + scratchOffset);
        }
    }
}
