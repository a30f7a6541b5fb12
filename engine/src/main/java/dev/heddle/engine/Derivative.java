// Symbolic derivatives of elementwise expressions.
package dev.heddle.engine;

import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Expr.BinaryOp;
import dev.heddle.engine.op.Expr.Comparison;
import dev.heddle.engine.op.Expr.UnaryOp;

/**
 * Reverse-mode differentiation of one expression. Where a derivative can be said by the function's value (exp, tanh,
 * sigmoid, relu, ...) it is, so that a backward pass needs the output, which the next op keeps anyway, and not the input.
 */
final class Derivative {
    private final int input;
    private Expr sum;

    private Derivative(int input) {
        this.input = input;
    }

    /**
     * The contribution of one output to the gradient of one input.
     *
     * @param e the output's expression
     * @param value an expression for its value, of the same dtype
     * @param adjoint the gradient that arrives at it, of the same dtype
     * @return an expression of the input's dtype, or null if there is none
     */
    static Expr of(Expr e, Expr value, Expr adjoint, int input) {
        Derivative derivative = new Derivative(input);
        derivative.flow(e, value, adjoint);
        return derivative.sum;
    }

    private void flow(Expr e, Expr adjoint) {
        flow(e, e, adjoint);
    }

    private void flow(Expr e, Expr y, Expr adjoint) {
        if (!e.dtype().isFloat()) {
            return;
        }
        switch (e) {
            case Expr.Constant c -> { }
            case Expr.Input in -> {
                if (in.index() == input) {
                    sum = sum == null ? adjoint : sum.add(adjoint);
                }
            }
            case Expr.Cast(Expr a, DType to) -> flow(a, a.dtype().isFloat() ? adjoint.cast(a.dtype()) : adjoint);
            case Expr.Select(Expr c, Expr a, Expr b) -> {
                flow(a, c.select(adjoint, adjoint.literal(0)));
                flow(b, c.select(adjoint.literal(0), adjoint));
            }
            case Expr.Unary(UnaryOp op, Expr a) -> unary(op, a, y, adjoint);
            case Expr.Binary(BinaryOp op, Expr a, Expr b) -> {
                Expr logit = sigmoidOf(e);
                if (logit != null) {
                    flow(logit, adjoint.mul(y.mul(y.literal(1).sub(y))));
                } else {
                    binary(op, a, b, y, adjoint);
                }
            }
            case Expr.Compare c -> { }
        }
    }

    private void unary(UnaryOp op, Expr a, Expr y, Expr adjoint) {
        switch (op) {
            case NEG -> flow(a, adjoint.neg());
            case ABS -> flow(a, adjoint.mul(a.unary(UnaryOp.SIGN)));
            case SQRT -> flow(a, adjoint.mul(0.5).div(y));
            case RSQRT -> flow(a, adjoint.mul(-0.5).mul(y.mul(y).mul(y)));
            case EXP -> flow(a, adjoint.mul(y));
            case EXPM1 -> flow(a, adjoint.mul(y.add(1)));
            case LOG -> flow(a, adjoint.div(a));
            case LOG1P -> flow(a, adjoint.div(a.add(1)));
            case SIN -> flow(a, adjoint.mul(a.unary(UnaryOp.COS)));
            case COS -> flow(a, adjoint.mul(a.unary(UnaryOp.SIN)).neg());
            case TANH -> flow(a, adjoint.mul(y.literal(1).sub(y.mul(y))));
            case ERF -> flow(a, adjoint.mul(a.mul(a).neg().exp().mul(2 / Math.sqrt(Math.PI))));
            case SIGN, FLOOR, CEIL, ROUND, NOT -> { } // constant almost everywhere
        }
    }

    private void binary(BinaryOp op, Expr a, Expr b, Expr y, Expr adjoint) {
        switch (op) {
            case ADD -> {
                flow(a, adjoint);
                flow(b, adjoint);
            }
            case SUB -> {
                flow(a, adjoint);
                flow(b, adjoint.neg());
            }
            case MUL -> {
                flow(a, adjoint.mul(b));
                flow(b, adjoint.mul(a));
            }
            case DIV -> {
                flow(a, adjoint.div(b));
                flow(b, adjoint.mul(y).div(b).neg());
            }
            case POW -> {
                flow(a, adjoint.mul(b.mul(a.pow(b.sub(1)))));
                flow(b, a.compare(Comparison.GT, 0).select(adjoint.mul(y.mul(a.unary(UnaryOp.LOG))), adjoint.literal(0)));
            }
            case MAX -> extremum(Comparison.GT, a, b, y, adjoint);
            case MIN -> extremum(Comparison.LT, a, b, y, adjoint);
            case REMAINDER -> {
                flow(a, adjoint);
                flow(b, adjoint.mul(a.div(b).unary(UnaryOp.FLOOR)).neg());
            }
            case AND, OR, XOR -> { }
        }
    }

    /** The chosen operand gets the gradient; equal ones share it, but a literal's share is nobody's (relu'(0) = 0). */
    private void extremum(Comparison wins, Expr a, Expr b, Expr y, Expr adjoint) {
        Expr zero = adjoint.literal(0);
        if (b instanceof Expr.Constant) {
            flow(a, y.compare(wins, b).select(adjoint, zero));
            return;
        }
        Expr shared = a.compare(Comparison.EQ, b).select(adjoint.mul(0.5), zero);
        flow(a, a.compare(wins, b).select(adjoint, shared));
        flow(b, b.compare(wins, a).select(adjoint, shared));
    }

    /** {@code a} if the expression is {@code sigmoid(a)}, else null. */
    private static Expr sigmoidOf(Expr e) {
        if (e instanceof Expr.Binary(BinaryOp div, Expr.Constant one, Expr.Binary(BinaryOp add,
                Expr.Unary(UnaryOp exp, Expr power), Expr.Constant plus))
                && div == BinaryOp.DIV && add == BinaryOp.ADD && exp == UnaryOp.EXP && one.value() == 1 && plus.value() == 1) {
            return power.neg();
        }
        return null;
    }
}
