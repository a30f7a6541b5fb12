// The meaning of expressions, node by node on boxed values: slow, obvious, and independent of the generated code.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.math.BigInteger;

/**
 * Evaluates an expression for one element. Values are {@code Double} for f64, {@code Float} for the smaller floats,
 * {@code Long} for integers and truth values.
 */
final class Interpreter {
    private Interpreter() {}

    static Object evaluate(Expr e, Object[] inputs) {
        return switch (e) {
            case Expr.Input in -> inputs[in.index()];
            case Expr.Constant c -> !c.dtype().isFloat() ? (Object) c.bits() : number(c.value(), c.dtype());
            case Expr.Unary u -> unary(u.op(), u.dtype(), evaluate(u.a(), inputs));
            case Expr.Binary b -> binary(b.op(), b.dtype(), evaluate(b.a(), inputs), evaluate(b.b(), inputs));
            case Expr.Compare c -> compare(c.op(), evaluate(c.a(), inputs), evaluate(c.b(), inputs)) ? 1L : 0L;
            case Expr.Select s -> (Long) evaluate(s.condition(), inputs) != 0 ? evaluate(s.a(), inputs) : evaluate(s.b(), inputs);
            case Expr.Cast c -> cast(round(evaluate(c.a(), inputs), c.a().dtype()), c.dtype());
        };
    }

    /** The value as it is when stored: 16-bit floats lose their extra digits. */
    static Object round(Object value, DType dtype) {
        return switch (dtype) {
            case F16 -> Float.float16ToFloat(Float.floatToFloat16((Float) value));
            case BF16 -> bf16((Float) value);
            default -> value;
        };
    }

    private static Float bf16(float x) {
        if (Float.isNaN(x) || Float.isInfinite(x)) {
            return x;
        }
        float below = Float.intBitsToFloat(Float.floatToRawIntBits(x) & 0xffff0000);
        float above = Float.intBitsToFloat((Float.floatToRawIntBits(x) & 0xffff0000) + 0x10000);
        double aboveExact = Float.isInfinite(above) ? Math.copySign(0x1p128, x) : above;
        double down = Math.abs((double) x - below);
        double up = Math.abs(aboveExact - x);
        boolean even = (Float.floatToRawIntBits(below) >>> 16 & 1) == 0;
        return down < up || down == up && even ? below : above;
    }

    private static Object wrap(long value, DType dtype) {
        return switch (dtype) {
            case I32 -> (long) (int) value;
            case U8 -> value & 0xff;
            case BOOL -> value & 1;
            default -> value;
        };
    }

    private static Object number(double value, DType dtype) {
        return dtype == DType.F64 ? (Object) value : (Object) (float) value;
    }

    private static Object unary(Expr.UnaryOp op, DType dtype, Object a) {
        if (a instanceof Long x) {
            return wrap(switch (op) {
                case NEG -> -x;
                case ABS -> Math.abs(x);
                case SIGN -> Long.signum(x);
                case NOT -> dtype == DType.BOOL ? 1 - x : ~x;
                default -> throw new AssertionError(op);
            }, dtype);
        }
        double x = ((Number) a).doubleValue();
        return number(switch (op) {
            case NEG -> -x;
            case ABS -> Math.abs(x);
            case SIGN -> Math.signum(x);
            case FLOOR -> Math.floor(x);
            case CEIL -> Math.ceil(x);
            case ROUND -> Math.rint(x);
            case SQRT -> Math.sqrt(x);
            case RSQRT -> 1 / (dtype == DType.F64 ? Math.sqrt(x) : (float) Math.sqrt(x));
            case EXP -> Math.exp(x);
            case EXPM1 -> Math.expm1(x);
            case LOG -> Math.log(x);
            case LOG1P -> Math.log1p(x);
            case SIN -> Math.sin(x);
            case COS -> Math.cos(x);
            case TANH -> Math.tanh(x);
            case ERF -> ScalarMath.erf(x);
            case NOT -> throw new AssertionError(op);
        }, dtype);
    }

    private static Object binary(Expr.BinaryOp op, DType dtype, Object a, Object b) {
        if (a instanceof Long x) {
            long y = (Long) b;
            return wrap(switch (op) {
                case ADD -> x + y;
                case SUB -> x - y;
                case MUL -> x * y;
                case DIV -> y == 0 ? 0 : x / y;
                case POW -> power(x, y);
                case MIN -> Math.min(x, y);
                case MAX -> Math.max(x, y);
                case REMAINDER -> y == 0 ? 0 : x - y * Math.floorDiv(x, y);
                case AND -> x & y;
                case OR -> x | y;
                case XOR -> x ^ y;
            }, dtype);
        }
        double x = ((Number) a).doubleValue(); // one operation on floats, rounded from double, is rounded correctly
        double y = ((Number) b).doubleValue();
        return number(switch (op) {
            case ADD -> x + y;
            case SUB -> x - y;
            case MUL -> x * y;
            case DIV -> x / y;
            case POW -> Math.pow(x, y);
            case MIN -> Math.min(x, y);
            case MAX -> Math.max(x, y);
            case REMAINDER -> {
                double r = x % y;
                yield r != 0 && r < 0 != y < 0 ? (dtype == DType.F64 ? r + y : (float) r + (float) y) : r;
            }
            case AND, OR, XOR -> throw new AssertionError(op);
        }, dtype);
    }

    private static long power(long x, long y) {
        if (y < 0) {
            return x == 1 ? 1 : x == -1 ? 1 - 2 * (y & 1) : 0;
        }
        return BigInteger.valueOf(x).modPow(BigInteger.valueOf(y), BigInteger.TWO.pow(64)).longValue();
    }

    private static boolean compare(Expr.Comparison op, Object a, Object b) {
        double order = a instanceof Long x ? Long.compare(x, (Long) b) : ((Number) a).doubleValue() - ((Number) b).doubleValue();
        if (!(a instanceof Long) && ((Number) a).doubleValue() == ((Number) b).doubleValue()) {
            order = 0; // also for infinities
        }
        return switch (op) {
            case EQ -> order == 0;
            case NE -> order != 0;
            case LT -> order < 0;
            case LE -> order <= 0;
            case GT -> order > 0;
            case GE -> order >= 0;
        };
    }

    private static Object cast(Object a, DType to) {
        return switch (to) {
            case F64 -> ((Number) a).doubleValue();
            case F32 -> ((Number) a).floatValue();
            case F16, BF16 -> round(((Number) a).floatValue(), to);
            case I64 -> ((Number) a).longValue();
            case I32 -> (long) ((Number) a).intValue();
            case U8 -> (long) (((Number) a).intValue() & 0xff);
            case BOOL -> ((Number) a).doubleValue() != 0 ? 1L : 0L;
        };
    }
}
