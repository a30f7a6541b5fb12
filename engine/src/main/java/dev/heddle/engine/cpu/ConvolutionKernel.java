// Convolutions as steps of a plan.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.ArrayList;
import java.util.List;

/** Hands a step to a planned oneDNN convolution. */
final class ConvolutionKernel implements Kernel {
    private final OneDnnConvolution planned;
    private final boolean bias;

    private ConvolutionKernel(OneDnnConvolution planned, boolean bias) {
        this.planned = planned;
        this.bias = bias;
    }

    /** Whether oneDNN has a fast kernel for activations with channels innermost. */
    static boolean supports(Convolution op, Step.Epilogue epilogue, List<Spec> inputs, Spec output) {
        return plan(op, epilogue, inputs.stream().map(ConvolutionKernel::preferred).toList(), preferred(output)) != null;
    }

    private static Layout preferred(Spec spec) {
        return Layout.channelsLast(spec);
    }

    static ConvolutionKernel of(Step step) {
        OneDnnConvolution planned = plan((Convolution) step.op(), step.epilogue(), step.inputLayouts(), step.outputLayouts().getFirst());
        return planned == null ? null : new ConvolutionKernel(planned, step.epilogue().bias());
    }

    private static OneDnnConvolution plan(Convolution op, Step.Epilogue epilogue, List<Layout> inputs, Layout output) {
        DType dtype = output.dtype();
        if (!OneDnn.available() || dtype == DType.F64) {
            return null;
        }
        Layout x = op.direction() == Convolution.Direction.BACKWARD_DATA ? output : inputs.get(0);
        Layout w = op.direction() == Convolution.Direction.BACKWARD_WEIGHTS ? output : inputs.get(1);
        Layout y = switch (op.direction()) {
            case FORWARD -> output;
            case BACKWARD_DATA -> inputs.get(0);
            case BACKWARD_WEIGHTS -> inputs.get(1);
        };
        OneDnnConvolutionShape shape = new OneDnnConvolutionShape(dtype, x.shape().dim(0), x.shape().dim(1), y.shape().dim(1),
                op.groups(), spatial(x), spatial(w), op.window(), x.isChannelsLast(), y.isChannelsLast(), epilogue.bias(), false,
                epilogue.relu());
        return OneDnnConvolution.of(op.direction(), shape);
    }

    private static List<Long> spatial(Layout layout) {
        List<Long> extents = new ArrayList<>();
        for (int i = 2; i < layout.shape().rank(); i++) {
            extents.add(layout.shape().dim(i));
        }
        return extents;
    }

    @Override
    public long workspaceBytes() {
        return planned.workspaceBytes();
    }

    @Override
    public void run(long[] addresses) {
        int inputs = bias ? 3 : 2;
        planned.execute(addresses[0], addresses[1], bias ? addresses[2] : 0, addresses[inputs],
                planned.workspaceBytes() == 0 ? 0 : addresses[inputs + 1]);
    }
}
