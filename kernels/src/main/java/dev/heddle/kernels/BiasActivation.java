// An activation together with the bias before it, so that the gradient of the bias comes from the activation's backward pass.
package dev.heddle.kernels;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.List;
import java.util.Locale;
import java.util.function.UnaryOperator;

/** {@code (x (..., C), bias (C)) -> y (..., C)}: {@code y = f(x + bias)}. */
public record BiasActivation(Function function) implements Fused {
    /** The activations there are kernels for; formulas in {@link Activations}. */
    public enum Function {
        /** {@link Activations#relu}. */
        RELU(Activations::relu, Catalogue.BIAS_RELU_FORWARD, Catalogue.BIAS_RELU_BACKWARD),
        /** {@link Activations#silu}. */
        SILU(Activations::silu, Catalogue.BIAS_SILU_FORWARD, Catalogue.BIAS_SILU_BACKWARD),
        /** {@link Activations#gelu}. */
        GELU(Activations::gelu, Catalogue.BIAS_GELU_FORWARD, Catalogue.BIAS_GELU_BACKWARD),
        /** {@link Activations#geluTanh}. */
        GELU_TANH(Activations::geluTanh, Catalogue.BIAS_GELU_TANH_FORWARD, Catalogue.BIAS_GELU_TANH_BACKWARD);

        final Catalogue forward;
        final Catalogue backward;
        private final UnaryOperator<Expr> expression;

        Function(UnaryOperator<Expr> expression, Catalogue forward, Catalogue backward) {
            this.expression = expression;
            this.forward = forward;
            this.backward = backward;
        }
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec x = inputs.get(0);
        Spec bias = inputs.get(1);
        if (!x.dtype().isFloat() || !bias.equals(new Spec(x.dtype(), Shape.of(x.shape().dim(x.shape().axis(name(), -1)))))) {
            throw new ShapeException(name() + ": bias " + bias + " for input " + x);
        }
        return List.of(x);
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        return List.of(inputs.get(0).add(inputs.get(1)).map(function.expression));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return Tensor.recordAll(new Backward(function), List.of(inputs.get(0), inputs.get(1), gradients.getFirst()));
    }

    @Override
    public String name() {
        return "bias_" + function.name().toLowerCase(Locale.ROOT);
    }

    /** {@code (x, bias, dy) -> (dx, dbias)}: {@code dx = dy f'(x + bias)}, {@code dbias} its sum over the leading axes. */
    public record Backward(Function function) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return inputs.subList(0, 2);
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            return Gradients.throughDecomposition(new BiasActivation(function), inputs.subList(0, 2), inputs.subList(2, 3));
        }

        @Override
        public String name() {
            return "bias_" + function.name().toLowerCase(Locale.ROOT) + "_backward";
        }
    }
}
