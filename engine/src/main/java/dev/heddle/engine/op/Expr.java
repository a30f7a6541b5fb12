// The expression language of elementwise operations. An activation is defined once, as an Expr: its CPU loop, its CUDA
// kernel and its derivative all come from that definition, and fusing two elementwise ops is substitution.
package dev.heddle.engine.op;

import dev.heddle.engine.DType;
import dev.heddle.engine.ShapeException;

/**
 * A typed scalar expression over the inputs of an {@link Elementwise} op. Every node has a {@link #dtype()}; operands of
 * arithmetic must have equal dtypes ({@link Cast} converts). Values of {@code BF16} and {@code F16} are computed in
 * {@code F32} and rounded once, when stored or cast.
 */
public sealed interface Expr {
    /** The dtype of the value. */
    DType dtype();

    /** The {@code index}-th input of the op. */
    record Input(int index, DType dtype) implements Expr {}

    /** A literal; {@code bits} is the value itself for integers and booleans, the bits of the double for floats. */
    record Constant(long bits, DType dtype) implements Expr {
        /** The literal as a double. */
        public double value() {
            return dtype.isFloat() ? Double.longBitsToDouble(bits) : bits;
        }
    }

    /** {@code op(a)}, of the dtype of {@code a}. */
    record Unary(UnaryOp op, Expr a) implements Expr {
        public Unary {
            DType t = a.dtype();
            boolean ok = switch (op) {
                case NOT -> t == DType.BOOL || t.isInteger();
                case NEG, ABS, SIGN -> t != DType.BOOL;
                default -> t.isFloat();
            };
            if (!ok) {
                throw new ShapeException(op + ": not defined for " + t);
            }
        }

        @Override
        public DType dtype() {
            return a.dtype();
        }
    }

    /** {@code op(a, b)}; both operands have the same dtype, which is the result's. */
    record Binary(BinaryOp op, Expr a, Expr b) implements Expr {
        public Binary {
            requireSame(op, a, b);
            boolean logical = op == BinaryOp.AND || op == BinaryOp.OR || op == BinaryOp.XOR;
            if (logical ? a.dtype().isFloat() : a.dtype() == DType.BOOL && op != BinaryOp.MIN && op != BinaryOp.MAX) {
                throw new ShapeException(op + ": not defined for " + a.dtype());
            }
        }

        @Override
        public DType dtype() {
            return a.dtype();
        }
    }

    /** {@code a op b}, a {@code BOOL}; comparisons with NaN are false, except {@code NE}. */
    record Compare(Comparison op, Expr a, Expr b) implements Expr {
        public Compare {
            requireSame(op, a, b);
        }

        @Override
        public DType dtype() {
            return DType.BOOL;
        }
    }

    /** {@code condition ? a : b}; the value not chosen does not matter, not even when it is NaN. */
    record Select(Expr condition, Expr a, Expr b) implements Expr {
        public Select {
            requireSame("SELECT", a, b);
            if (condition.dtype() != DType.BOOL) {
                throw new ShapeException("SELECT: condition is " + condition.dtype() + ", not BOOL");
            }
        }

        @Override
        public DType dtype() {
            return a.dtype();
        }
    }

    /**
     * Conversion. Float to integer truncates toward zero, saturates, and maps NaN to 0 (Java's rule); to {@code U8}
     * wraps after conversion to {@code I32}; to {@code BOOL} is {@code a != 0}.
     */
    record Cast(Expr a, DType dtype) implements Expr {}

    /** Functions of one argument. {@code ROUND} is to nearest, ties to even; {@code SIGN} of NaN is NaN. */
    enum UnaryOp { NEG, ABS, SIGN, FLOOR, CEIL, ROUND, SQRT, RSQRT, EXP, EXPM1, LOG, LOG1P, SIN, COS, TANH, ERF, NOT }

    /**
     * Functions of two arguments. {@code MIN}, {@code MAX} propagate NaN. {@code DIV} of integers truncates, and by zero
     * gives 0. {@code REMAINDER} has the sign of the divisor (Python's rule); by integer zero it gives 0. {@code AND},
     * {@code OR}, {@code XOR} are bitwise on integers and logical on {@code BOOL}.
     */
    enum BinaryOp { ADD, SUB, MUL, DIV, POW, MIN, MAX, REMAINDER, AND, OR, XOR }

    /** Order relations. */
    enum Comparison { EQ, NE, LT, LE, GT, GE }

    private static void requireSame(Object op, Expr a, Expr b) {
        if (a.dtype() != b.dtype()) {
            throw new ShapeException(op + ": operands are " + a.dtype() + " and " + b.dtype());
        }
    }

    // ---- building: exact simplifications only, so that a simplified expression has the same bits

    /** A literal of the given dtype; integers take the value truncated. */
    static Constant constant(double value, DType dtype) {
        return new Constant(dtype.isFloat() ? Double.doubleToRawLongBits(value) : (long) value, dtype);
    }

    /** A literal of the same dtype as this expression. */
    default Expr literal(double value) {
        return constant(value, dtype());
    }

    private boolean is(double value) {
        return this instanceof Constant c && c.value() == value;
    }

    /** {@code this + b}. */
    default Expr add(Expr b) {
        return is(0) ? b : b.is(0) ? this : new Binary(BinaryOp.ADD, this, b);
    }

    /** {@code this - b}. */
    default Expr sub(Expr b) {
        return b.is(0) ? this : new Binary(BinaryOp.SUB, this, b);
    }

    /** {@code this * b}; a factor that is the literal 1 vanishes, the literal 0 absorbs. */
    default Expr mul(Expr b) {
        if (is(0) || b.is(1)) {
            return this;
        }
        return is(1) || b.is(0) ? b : new Binary(BinaryOp.MUL, this, b);
    }

    /** {@code this / b}. */
    default Expr div(Expr b) {
        return b.is(1) || is(0) ? this : new Binary(BinaryOp.DIV, this, b);
    }

    /** {@code this ^ b}. */
    default Expr pow(Expr b) {
        return new Binary(BinaryOp.POW, this, b);
    }

    /** The smaller of the two, NaN if one is. */
    default Expr min(Expr b) {
        return new Binary(BinaryOp.MIN, this, b);
    }

    /** The larger of the two, NaN if one is. */
    default Expr max(Expr b) {
        return new Binary(BinaryOp.MAX, this, b);
    }

    /** {@code this + value}, and likewise below for the other literals. */
    default Expr add(double value) {
        return add(literal(value));
    }

    /** {@code this - value}. */
    default Expr sub(double value) {
        return sub(literal(value));
    }

    /** {@code this * value}. */
    default Expr mul(double value) {
        return mul(literal(value));
    }

    /** {@code this / value}. */
    default Expr div(double value) {
        return div(literal(value));
    }

    /** {@code op(this)}. */
    default Expr unary(UnaryOp op) {
        return new Unary(op, this);
    }

    /** {@code -this}; negating twice gives the original. */
    default Expr neg() {
        if (this instanceof Unary(UnaryOp op, Expr a) && op == UnaryOp.NEG) {
            return a;
        }
        return is(0) ? this : unary(UnaryOp.NEG);
    }

    /** {@code e^this}. */
    default Expr exp() {
        return unary(UnaryOp.EXP);
    }

    /** {@code tanh(this)}. */
    default Expr tanh() {
        return unary(UnaryOp.TANH);
    }

    /** {@code 1 / (1 + e^-this)}. */
    default Expr sigmoid() {
        return literal(1).div(neg().exp().add(1));
    }

    /** A comparison with another expression of the same dtype. */
    default Expr compare(Comparison op, Expr b) {
        return new Compare(op, this, b);
    }

    /** A comparison with a literal. */
    default Expr compare(Comparison op, double value) {
        return compare(op, literal(value));
    }

    /** {@code this ? a : b}, for a {@code BOOL} expression. */
    default Expr select(Expr a, Expr b) {
        return a.equals(b) ? a : new Select(this, a, b);
    }

    /** Conversion to another dtype; nothing if it is the same. */
    default Expr cast(DType dtype) {
        return dtype == dtype() ? this : new Cast(this, dtype);
    }

    // ---- tree operations

    /** This expression with every input {@code i} replaced by {@code replacements[i]}, which must have its dtype. */
    default Expr substitute(Expr... replacements) {
        return switch (this) {
            case Input in -> replacements[in.index()];
            case Constant c -> c;
            case Unary(UnaryOp op, Expr a) -> new Unary(op, a.substitute(replacements));
            case Binary(BinaryOp op, Expr a, Expr b) ->
                    new Binary(op, a.substitute(replacements), b.substitute(replacements));
            case Compare(Comparison op, Expr a, Expr b) ->
                    new Compare(op, a.substitute(replacements), b.substitute(replacements));
            case Select(Expr c, Expr a, Expr b) ->
                    new Select(c.substitute(replacements), a.substitute(replacements), b.substitute(replacements));
            case Cast(Expr a, DType to) -> new Cast(a.substitute(replacements), to);
        };
    }

    /** Number of nodes of the tree, inputs and literals included: the planner's bound on fusion. */
    default int size() {
        return 1 + switch (this) {
            case Input in -> 0;
            case Constant c -> 0;
            case Unary u -> u.a().size();
            case Binary b -> b.a().size() + b.b().size();
            case Compare c -> c.a().size() + c.b().size();
            case Select s -> s.condition().size() + s.a().size() + s.b().size();
            case Cast c -> c.a().size();
        };
    }
}
