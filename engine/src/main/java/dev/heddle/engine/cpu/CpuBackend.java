// The CPU as a backend of the planner: which kernel runs a step, and which layouts it wants.
package dev.heddle.engine.cpu;

import dev.heddle.engine.cpu.codegen.ElementwiseKernel;
import dev.heddle.engine.cpu.codegen.ReduceKernel;
import dev.heddle.engine.fused.RecurrentScan;
import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Backend;
import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.List;
import java.util.function.Supplier;

/** oneDNN for products and convolutions, generated loops for the rest; plain Java where oneDNN is missing. */
public final class CpuBackend implements Backend {
    @Override
    public DeviceMemory memory() {
        return DeviceMemory.CPU;
    }

    @Override
    public Runnable program(Kernel[] kernels, long[][] addresses) {
        return () -> {
            for (int i = 0; i < kernels.length; i++) {
                kernels[i].run(addresses[i]);
            }
        };
    }

    @Override
    public boolean prefersFixedAddresses() {
        return false;
    }

    @Override
    public boolean separatesValues() {
        return false;
    }

    @Override
    public void launched() {
        // kernels have run when they return
    }

    @Override
    public void synchronize() {
        // kernels have run when they return
    }

    @Override
    public boolean supports(Fused op, List<Spec> inputs) {
        return RecurrentKernel.supports(op, inputs) || AttentionKernel.supports(op, inputs);
    }

    @Override
    public Layout inputLayout(Op op, int input, List<Layout> layouts) {
        Layout given = layouts.get(input);
        return switch (op) {
            case Elementwise e -> given;
            case Reduce r -> given;
            case Movement m -> given;
            case MatMul m -> input < 2 && (!OneDnn.available() || MatMulKernel.accepts(given)) ? given : contiguous(given);
            case Convolution c -> isWeights(c, input) || !usesOneDnn(c, specs(layouts)) ? contiguous(given) : channelsLast(given);
            case Pooling p -> layouts.getFirst().isChannelsLast() ? channelsLast(given) : contiguous(given);
            case Fused f when AttentionKernel.supports(f, specs(layouts)) -> AttentionKernel.inputLayout(given);
            default -> contiguous(given);
        };
    }

    private static boolean isWeights(Convolution op, int input) {
        return op.direction() != Convolution.Direction.BACKWARD_WEIGHTS && input > 0;
    }

    private static boolean usesOneDnn(Convolution op, List<Spec> inputs) {
        return usesOneDnn(op, Step.Epilogue.NONE, inputs.subList(0, 2)); // a folded bias is no operand
    }

    private static boolean usesOneDnn(Convolution op, Step.Epilogue epilogue, List<Spec> operands) {
        return ConvolutionKernel.supports(op, epilogue, operands, op.infer(operands).getFirst());
    }

    private static List<Spec> specs(List<Layout> layouts) {
        return layouts.stream().map(Layout::spec).toList();
    }

    private static Layout contiguous(Layout given) {
        return given.isContiguous() ? given : Layout.contiguous(given.spec());
    }

    private static Layout channelsLast(Layout given) {
        return given.isChannelsLast() ? given : Layout.channelsLast(given.spec());
    }

    @Override
    public Layout outputLayout(Op op, Spec output, List<Layout> inputs) {
        boolean channelsLast = switch (op) {
            case Convolution c -> c.direction() != Convolution.Direction.BACKWARD_WEIGHTS && usesOneDnn(c, specs(inputs));
            case Pooling p -> inputs.getFirst().isChannelsLast();
            default -> false;
        };
        return op instanceof Elementwise ? elementwiseLayout(output, inputs)
                : op instanceof Fused f && AttentionKernel.supports(f, specs(inputs)) ? AttentionKernel.outputLayout(output, inputs)
                : channelsLast ? Layout.channelsLast(output) : Layout.contiguous(output);
    }

    /** The layout of the inputs, so that the loop runs through memory in order; channels-last wins. */
    private static Layout elementwiseLayout(Spec output, List<Layout> inputs) {
        Layout chosen = null;
        for (Layout input : inputs) {
            if (input.shape().equals(output.shape()) && input.isDense()
                    && (chosen == null || input.isChannelsLast() && !chosen.isChannelsLast())) {
                chosen = new Layout(output.dtype(), output.shape(), input.strides(), 0);
            }
        }
        return chosen == null ? Layout.contiguous(output) : chosen;
    }

    @Override
    public boolean folds(Op op, Step.Epilogue epilogue, List<Spec> inputs) {
        return switch (op) {
            case Convolution c -> usesOneDnn(c, epilogue, inputs);
            case MatMul m -> MatMulKernel.folds(epilogue, inputs, m.infer(inputs).getFirst());
            default -> false;
        };
    }

    @Override
    public boolean reducesRows(Call call) {
        return RowKernel.foldsColumns(call);
    }

    @Override
    public Kernel kernel(Call call) {
        return call.rows() != null ? firstOf(RowKernel.of(call), () -> new RowBlocks(call))
                : call.steps().size() > 1 ? new Updates(call.steps()) : kernel(call.steps().getFirst());
    }

    private static Kernel kernel(Step step) {
        List<Layout> in = step.inputLayouts();
        Layout out = step.outputLayouts().getFirst();
        return switch (step.op()) {
            case Elementwise e -> loops(step, WorkerPool.shared().threads());
            case Reduce r -> loops(step, WorkerPool.shared().threads());
            case MatMul m -> firstOf(MatMulKernel.of(step), () -> JavaMatMul.of(in.get(0), in.get(1), out));
            case Convolution c -> firstOf(ConvolutionKernel.of(step), () -> JavaConvolution.of(c, in, out));
            case Pooling p -> PoolingKernel.of(p, in, out);
            case Gather g -> IndexKernels.gather(g, in.get(0), in.get(1), out);
            case Scatter s -> IndexKernels.scatter(s, in.get(0), in.get(1), out);
            case Sort s -> SortKernel.of(s, in.getFirst());
            case Random r -> new RandomKernel(r);
            case Movement.Concat c -> CopyKernels.concat(c, in, out);
            case Movement.Pad p -> CopyKernels.pad(p, in.getFirst(), out);
            case Movement m -> throw new IllegalStateException(m + " is a layout, not a step");
            case RecurrentScan scan -> RecurrentKernel.of(scan, in);
            case RecurrentScan.Backward scan -> RecurrentKernel.of(scan, in);
            case Fused f when AttentionKernel.supports(f, specs(in)) -> new AttentionKernel(f, in, step.outputLayouts());
            case Fused f -> throw new IllegalStateException(f + " should have been decomposed");
            case Source s -> throw new IllegalStateException(s + " is no step");
        };
    }

    private static Kernel firstOf(Kernel preferred, Supplier<Kernel> other) {
        return preferred != null ? preferred : other.get();
    }

    /** The kernel of a step that is part of a task: for one thread. */
    static Kernel ofOneThread(Step step) {
        return step.op() instanceof MatMul ? kernel(step) : loops(step, 1);
    }

    /** The generated kernel of an elementwise step or a reduction, its work split as for that many threads. */
    static Kernel loops(Step step, int threads) {
        List<Layout> in = step.inputLayouts();
        Layout out = step.outputLayouts().getFirst();
        if (step.op() instanceof Reduce r) {
            Expr prologue = step.prologue() != null ? step.prologue() : new Expr.Input(0, in.getFirst().dtype());
            return ReduceKernel.of(r.kind(), List.of(prologue), in.getFirst().shape(), in, r.axes(), out, threads);
        }
        return ElementwiseKernel.of(((Elementwise) step.op()).outputs(), out.shape(), in, step.outputLayouts(), threads);
    }
}
