// Evaluates expressions one element at a time.
package dev.heddle.engine.reference;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;

/** A value is a {@code Long} for {@code I64}, a {@code Double} for everything else. */
final class Expressions {
    private Expressions() {}

    static Object evaluate(Expr e, Object[] inputs) {
        return switch (e) {
            case Expr.Input in -> inputs[in.index()];
            case Expr.Constant c -> c.dtype() == DType.I64 ? (Object) c.bits() : (Object) c.value();
            case Expr.Select(Expr c, Expr a, Expr b) -> (double) evaluate(c, inputs) != 0 ? evaluate(a, inputs) : evaluate(b, inputs);
            case Expr.Cast(Expr a, DType to) -> cast(evaluate(a, inputs), to);
            case Expr.Compare(Expr.Comparison op, Expr a, Expr b) -> compare(op, evaluate(a, inputs), evaluate(b, inputs)) ? 1.0 : 0.0;
            case Expr.Unary(Expr.UnaryOp op, Expr a) -> {
                Object x = evaluate(a, inputs);
                yield x instanceof Long exact ? (Object) unary(op, exact)
                        : a.dtype().isInteger() ? (Object) wrap(unary(op, (long) (double) x), a.dtype()) : (Object) unary(op, (double) x);
            }
            case Expr.Binary(Expr.BinaryOp op, Expr a, Expr b) -> {
                Object x = evaluate(a, inputs);
                Object y = evaluate(b, inputs);
                if (x instanceof Long p) {
                    yield binary(op, p, (long) y);
                }
                yield a.dtype().isFloat() ? (Object) binary(op, (double) x, (double) y)
                        : (Object) wrap(binary(op, (long) (double) x, (long) (double) y), a.dtype());
            }
        };
    }

    /** An {@code I32}, {@code U8} or {@code BOOL} result as the dtype holds it: integers wrap around, a truth value is 0 or 1. */
    static double wrap(long value, DType dtype) {
        return switch (dtype) {
            case I32 -> (int) value;
            case U8 -> value & 0xff;
            case BOOL -> value == 0 ? 0 : 1;
            default -> throw new IllegalStateException(dtype + " does not wrap");
        };
    }

    static Object cast(Object x, DType to) {
        if (to == DType.BOOL) {
            return (x instanceof Long exact ? exact != 0 : (double) x != 0) ? 1.0 : 0.0;
        }
        return switch (to) {
            case I64 -> x instanceof Long ? x : (Object) (long) (double) x;
            case I32 -> x instanceof Long exact ? (double) exact.intValue() : (double) (int) (double) x;
            case U8 -> (double) ((x instanceof Long exact ? exact.intValue() : (int) (double) x) & 0xff);
            default -> x instanceof Long exact ? (double) exact : x;
        };
    }

    private static boolean compare(Expr.Comparison op, Object x, Object y) {
        if (x instanceof Long a) {
            int order = Long.compare(a, (long) y);
            return switch (op) {
                case EQ -> order == 0;
                case NE -> order != 0;
                case LT -> order < 0;
                case LE -> order <= 0;
                case GT -> order > 0;
                case GE -> order >= 0;
            };
        }
        double a = (double) x;
        double b = (double) y;
        return switch (op) {
            case EQ -> a == b;
            case NE -> a != b;
            case LT -> a < b;
            case LE -> a <= b;
            case GT -> a > b;
            case GE -> a >= b;
        };
    }

    private static long unary(Expr.UnaryOp op, long x) {
        return switch (op) {
            case NEG -> -x;
            case ABS -> Math.abs(x);
            case SIGN -> Long.signum(x);
            case NOT -> ~x;
            default -> throw new IllegalStateException(op + " of an integer");
        };
    }

    private static double unary(Expr.UnaryOp op, double x) {
        return switch (op) {
            case NEG -> -x;
            case ABS -> Math.abs(x);
            case SIGN -> Math.signum(x);
            case FLOOR -> Math.floor(x);
            case CEIL -> Math.ceil(x);
            case ROUND -> Math.rint(x);
            case SQRT -> Math.sqrt(x);
            case RSQRT -> 1 / Math.sqrt(x);
            case EXP -> Math.exp(x);
            case EXPM1 -> Math.expm1(x);
            case LOG -> Math.log(x);
            case LOG1P -> Math.log1p(x);
            case SIN -> Math.sin(x);
            case COS -> Math.cos(x);
            case TANH -> Math.tanh(x);
            case ERF -> erf(x);
            case NOT -> 1 - x; // of BOOL
        };
    }

    private static long binary(Expr.BinaryOp op, long a, long b) {
        return switch (op) {
            case ADD -> a + b;
            case SUB -> a - b;
            case MUL -> a * b;
            case DIV -> b == 0 ? 0 : a / b;
            case MIN -> Math.min(a, b);
            case MAX -> Math.max(a, b);
            case REMAINDER -> b == 0 ? 0 : Math.floorMod(a, b);
            case AND -> a & b;
            case OR -> a | b;
            case XOR -> a ^ b;
            case POW -> throw new IllegalStateException("power of integers");
        };
    }

    private static double binary(Expr.BinaryOp op, double a, double b) {
        return switch (op) {
            case ADD -> a + b;
            case SUB -> a - b;
            case MUL -> a * b;
            case DIV -> a / b;
            case POW -> Math.pow(a, b);
            case MIN -> Math.min(a, b);
            case MAX -> Math.max(a, b);
            case REMAINDER -> remainder(a, b);
            case AND, OR, XOR -> throw new IllegalStateException(op + " of floats");
        };
    }

    private static double remainder(double a, double b) {
        double r = a % b;
        return r != 0 && r < 0 != b < 0 ? r + b : r;
    }

    /**
     * The series {@code 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1))}, whose terms all have one sign, near 0,
     * and the continued fraction of {@code 1 - erf} beyond (Abramowitz and Stegun, 7.1.6 and 7.1.14).
     */
    static double erf(double x) {
        double a = Math.abs(x);
        if (Double.isNaN(x)) {
            return x;
        }
        if (a > 6) {
            return Math.signum(x);
        }
        if (a < 2.5) {
            double term = a;
            double sum = a;
            for (int n = 1; n < 80; n++) {
                term *= 2 * a * a / (2 * n + 1);
                sum += term;
            }
            return Math.signum(x) * 2 / Math.sqrt(Math.PI) * Math.exp(-a * a) * sum;
        }
        double fraction = 0;
        for (int n = 120; n > 0; n--) {
            fraction = n / 2.0 / (a + fraction);
        }
        return Math.signum(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
    }
}
