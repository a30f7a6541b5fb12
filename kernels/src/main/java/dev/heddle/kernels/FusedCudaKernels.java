// How the engine finds the custom kernels: which fused op is launched by what.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.FusedKernels;
import dev.heddle.engine.fused.CrossEntropy;
import dev.heddle.engine.fused.Dropout;
import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.engine.fused.RmsNorm;
import dev.heddle.engine.fused.ScaledDotProductAttention;
import dev.heddle.engine.fused.Softmax;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.List;

/** Kernels of {@code cuda-src} for {@code F32}, {@code BF16} and {@code F16}; tensors without elements are left to the decomposition. */
public final class FusedCudaKernels implements FusedKernels {
    private static final long MOST_ROWS = Integer.MAX_VALUE; // of a grid
    private static final long MOST_COLUMNS = 1 << 30;

    private interface Launcher {
        Kernel launch(FusedCall call);
    }

    /** Used by the service loader. */
    public FusedCudaKernels() {}

    private static Launcher launcher(Fused op) {
        return switch (op) {
            case Softmax s -> call -> SoftmaxKernels.forward(s, call);
            case Softmax.Backward s -> call -> SoftmaxKernels.backward(s, call);
            case CrossEntropy c -> call -> CrossEntropyKernels.forward(c, call);
            case CrossEntropy.Backward c -> call -> CrossEntropyKernels.backward(c, call);
            case CrossEntropy.ForwardBackward c -> call -> CrossEntropyKernels.forwardBackward(c, call);
            case LayerNorm n -> call -> NormKernels.layerNorm(n, call);
            case LayerNorm.Backward _ -> call -> NormKernels.layerNormBackward(call);
            case RmsNorm n -> call -> NormKernels.rmsNorm(n, call);
            case RmsNorm.Backward _ -> call -> NormKernels.rmsNormBackward(call);
            case ResidualLayerNorm n -> call -> NormKernels.residualLayerNorm(n, call);
            case ResidualLayerNorm.Backward _ -> call -> NormKernels.layerNormBackward(call);
            case ResidualRmsNorm n -> call -> NormKernels.residualRmsNorm(n, call);
            case ResidualRmsNorm.Backward _ -> call -> NormKernels.rmsNormBackward(call);
            case BiasActivation a -> call -> ActivationKernels.bias(a, call);
            case BiasActivation.Backward a -> call -> ActivationKernels.biasBackward(a, call);
            case Dropout d -> call -> ActivationKernels.dropout(d, call);
            case GlobalNorm _ -> GlobalNormKernels::norm;
            case SwiGlu _ -> ActivationKernels::swiGlu;
            case SwiGlu.Backward _ -> ActivationKernels::swiGluBackward;
            case ScaledDotProductAttention a -> call -> AttentionKernels.forward(a, call);
            case ScaledDotProductAttention.Backward a -> call -> AttentionKernels.backward(a, call);
            default -> null;
        };
    }

    @Override
    public boolean supports(Fused op, List<Spec> inputs) {
        if (launcher(op) == null || inputs.stream().anyMatch(x -> x.shape().elements() == 0)) {
            return false;
        }
        List<DType> dtypes = Catalogue.SOFTMAX_FORWARD.dtypes();
        Spec x = inputs.getFirst();
        return switch (op) {
            case Dropout _ -> dtypes.contains(x.dtype());
            case GlobalNorm _ -> inputs.stream().allMatch(i -> dtypes.contains(i.dtype()));
            default -> dtypes.contains(x.dtype()) && x.shape().dim(-1) <= MOST_COLUMNS
                    && x.shape().elements() / x.shape().dim(-1) <= MOST_ROWS && (!isAttention(op) || AttentionKernels.supports(op, inputs));
        };
    }

    @Override
    public Layout inputLayout(Fused op, int input, List<Layout> inputs) {
        Layout given = inputs.get(input);
        boolean takes = isAttention(op) && AttentionKernels.takes(given) || op instanceof GlobalNorm && given.isDense(); // in any order
        return takes ? given : FusedKernels.super.inputLayout(op, input, inputs);
    }

    @Override
    public Layout outputLayout(Fused op, Spec output, List<Layout> inputs) {
        return isAttention(op) ? AttentionKernels.outputLayout(output, inputs.getFirst()) : Layout.contiguous(output);
    }

    private static boolean isAttention(Fused op) {
        return op instanceof ScaledDotProductAttention || op instanceof ScaledDotProductAttention.Backward;
    }

    @Override
    public Kernel kernel(Fused op, List<Layout> inputs, List<Layout> outputs, Cuda cuda) {
        return launcher(op).launch(new FusedCall(inputs, outputs, cuda));
    }
}
