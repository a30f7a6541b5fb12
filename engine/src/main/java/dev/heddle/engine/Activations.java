// Every activation, defined once as an expression: CPU loop, GPU kernel and derivative come from here.
package dev.heddle.engine;

import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Expr.Comparison;
import dev.heddle.engine.op.Expr.UnaryOp;

/** Activation functions as expressions; use them with {@link Tensor#map}, for example {@code x.map(Activations::gelu)}. */
public final class Activations {
    private Activations() {}

    /** {@code max(x, 0)}. */
    public static Expr relu(Expr x) {
        return x.max(x.literal(0));
    }

    /** {@code x} if positive, else {@code slope * x}. */
    public static Expr leakyRelu(Expr x, double slope) {
        return x.compare(Comparison.GT, 0).select(x, x.mul(slope));
    }

    /** Gaussian error linear unit, exact: {@code x/2 (1 + erf(x / sqrt 2))} (Hendrycks and Gimpel, 2016). */
    public static Expr gelu(Expr x) {
        return x.mul(0.5).mul(x.mul(Math.sqrt(0.5)).unary(UnaryOp.ERF).add(1));
    }

    /** GELU by tanh: {@code x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))}, as in GPT-2. */
    public static Expr geluTanh(Expr x) {
        Expr inner = x.mul(x).mul(x).mul(0.044715).add(x).mul(Math.sqrt(2 / Math.PI));
        return x.mul(0.5).mul(inner.tanh().add(1));
    }

    /** Swish, the sigmoid linear unit: {@code x * sigmoid(x)}. */
    public static Expr silu(Expr x) {
        return x.mul(x.sigmoid());
    }

    /** {@code 1 / (1 + e^-x)}. */
    public static Expr sigmoid(Expr x) {
        return x.sigmoid();
    }

    /** Hyperbolic tangent. */
    public static Expr tanh(Expr x) {
        return x.tanh();
    }

    /** {@code x} if positive, else {@code alpha (e^x - 1)}. */
    public static Expr elu(Expr x, double alpha) {
        return x.compare(Comparison.GT, 0).select(x, x.min(x.literal(0)).unary(UnaryOp.EXPM1).mul(alpha));
    }

    /** {@code ln(1 + e^x)}, computed as {@code max(x, 0) + ln(1 + e^-|x|)} so that it neither overflows nor underflows. */
    public static Expr softplus(Expr x) {
        return x.max(x.literal(0)).add(x.unary(UnaryOp.ABS).neg().exp().unary(UnaryOp.LOG1P));
    }

    /** {@code x * tanh(softplus(x))} (Misra, 2019). */
    public static Expr mish(Expr x) {
        return x.mul(softplus(x).tanh());
    }

    /** {@code x * min(max(x + 3, 0), 6) / 6} (Howard et al., 2019). */
    public static Expr hardswish(Expr x) {
        return x.mul(x.add(3).max(x.literal(0)).min(x.literal(6))).div(6);
    }
}
