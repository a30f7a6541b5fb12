// The fused ops of this module as functions, for layers and for those who want them without a layer.
package dev.heddle.kernels;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import java.util.List;

/** Functions that have kernels of their own on CUDA, forward and backward; elsewhere they are what their ops decompose into. */
public final class FusedFunctions {
    private FusedFunctions() {}

    private static Tensor first(Fused op, List<Tensor> inputs) {
        return Tensor.recordAll(op, inputs).getFirst();
    }

    /** {@code relu(x + bias)} with {@code x (..., C)}, {@code bias (C)}. */
    public static Tensor biasRelu(Tensor x, Tensor bias) {
        return first(new BiasActivation(BiasActivation.Function.RELU), List.of(x, bias));
    }

    /** {@code silu(x + bias)} with {@code x (..., C)}, {@code bias (C)}. */
    public static Tensor biasSilu(Tensor x, Tensor bias) {
        return first(new BiasActivation(BiasActivation.Function.SILU), List.of(x, bias));
    }

    /** {@code gelu(x + bias)}, by the error function, with {@code x (..., C)}, {@code bias (C)}. */
    public static Tensor biasGelu(Tensor x, Tensor bias) {
        return first(new BiasActivation(BiasActivation.Function.GELU), List.of(x, bias));
    }

    /** {@code gelu(x + bias)}, by tanh as in GPT-2, with {@code x (..., C)}, {@code bias (C)}. */
    public static Tensor biasGeluTanh(Tensor x, Tensor bias) {
        return first(new BiasActivation(BiasActivation.Function.GELU_TANH), List.of(x, bias));
    }

    /** {@code silu(gate) up} with two tensors of one shape. */
    public static Tensor swiGlu(Tensor gate, Tensor up) {
        return first(new SwiGlu(), List.of(gate, up));
    }

    /** The Euclidean norm of tensors taken as one vector, see {@link GlobalNorm}. */
    public static Tensor globalNorm(List<Tensor> tensors) {
        return first(new GlobalNorm(), tensors);
    }

    /**
     * Layer norm of {@code x + residual} over the last axis: {@code x}, {@code residual (..., D)}, {@code weight}, {@code bias (D)}.
     *
     * @return the norm and the sum
     */
    public static List<Tensor> residualLayerNorm(Tensor x, Tensor residual, Tensor weight, Tensor bias, double eps) {
        return Tensor.recordAll(new ResidualLayerNorm(eps), List.of(x, residual, weight, bias)).subList(0, 2);
    }

    /**
     * RMS norm of {@code x + residual} over the last axis: {@code x}, {@code residual (..., D)}, {@code weight (D)}.
     *
     * @return the norm and the sum
     */
    public static List<Tensor> residualRmsNorm(Tensor x, Tensor residual, Tensor weight, double eps) {
        return Tensor.recordAll(new ResidualRmsNorm(eps), List.of(x, residual, weight)).subList(0, 2);
    }
}
