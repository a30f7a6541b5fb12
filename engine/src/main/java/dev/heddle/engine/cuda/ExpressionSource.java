// From Expr to CUDA C++: each distinct subexpression becomes one local constant.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Statements that compute expressions for one element. Literals become parameters of the kernel, so that another learning rate
 * or another batch size compiles nothing, except the few that say more to the compiler than a number.
 */
final class ExpressionSource {
    private final Map<Expr, String> names = new HashMap<>();
    private final Map<Expr.Constant, String> literals;
    private final StringBuilder statements = new StringBuilder();
    private final String indent;
    private final String suffix;

    /**
     * @param literals literals that are parameters, with their names: added to
     * @param suffix of the names made here
     */
    ExpressionSource(Map<Expr.Constant, String> literals, String indent, String suffix) {
        this.literals = literals;
        this.indent = indent;
        this.suffix = suffix;
    }

    /** The type that values of a dtype are computed in. */
    static String computed(DType dtype) {
        return switch (dtype) {
            case F64 -> "f64";
            case F32, BF16, F16 -> "float";
            case I64 -> "i64";
            case I32 -> "i32";
            case U8 -> "u8";
            case BOOL -> "bool";
        };
    }

    /** The type that values of a dtype are stored in. */
    static String stored(DType dtype) {
        return switch (dtype) {
            case F64 -> "f64";
            case F32 -> "f32";
            case BF16 -> "bf16";
            case F16 -> "f16";
            case I64 -> "i64";
            case I32 -> "i32";
            case U8 -> "u8";
            case BOOL -> "bool";
        };
    }

    /** Says what an input's value is called. */
    void input(Expr.Input input, String value) {
        names.put(input, value);
    }

    /** The name of an expression's value; adds the statements that compute it. */
    String value(Expr e) {
        String known = names.get(e);
        if (known != null) {
            return known;
        }
        if (e instanceof Expr.Constant c) {
            return constant(c);
        }
        String text = text(e);
        String name = "v" + names.size() + suffix;
        names.put(e, name);
        statements.append(indent).append("const ").append(computed(e.dtype())).append(' ').append(name).append(" = ").append(text)
                .append(";\n");
        return name;
    }

    /** The statements so far. */
    String statements() {
        return statements.toString();
    }

    private String constant(Expr.Constant c) {
        double value = c.value();
        if (c.dtype() == DType.BOOL) {
            return c.bits() != 0 ? "true" : "false";
        }
        boolean telling = (value == 0 && (!c.dtype().isFloat() || c.bits() == 0)) || value == 1 || value == -1 || value == 2 || value == 0.5;
        if (telling) {
            return computed(c.dtype()) + "(" + (c.dtype().isFloat() ? Double.toString(value) : Long.toString(c.bits())) + ")";
        }
        return literals.computeIfAbsent(c, none -> "c" + literals.size());
    }

    private String text(Expr e) {
        return switch (e) {
            case Expr.Input in -> throw new IllegalStateException("input " + in.index() + " was not given");
            case Expr.Constant c -> throw new IllegalStateException();
            case Expr.Unary(Expr.UnaryOp op, Expr a) -> unary(op, value(a), a.dtype());
            case Expr.Binary(Expr.BinaryOp op, Expr a, Expr b) -> binary(op, value(a), value(b), a.dtype());
            case Expr.Compare(Expr.Comparison op, Expr a, Expr b) -> value(a) + switch (op) {
                case EQ -> " == ";
                case NE -> " != ";
                case LT -> " < ";
                case LE -> " <= ";
                case GT -> " > ";
                case GE -> " >= ";
            } + value(b);
            case Expr.Select(Expr c, Expr a, Expr b) -> value(c) + " ? " + value(a) + " : " + value(b);
            case Expr.Cast(Expr a, DType to) -> cast(value(a), a.dtype(), to);
        };
    }

    private static String cast(String x, DType from, DType to) {
        return switch (to) {
            case BOOL -> x + " != " + computed(from) + "(0)";
            case I64 -> "to_i64(" + x + ")";
            case I32 -> "to_i32(" + x + ")";
            case U8 -> "static_cast<u8>(to_i32(" + x + "))";
            case F64, F32 -> "static_cast<" + computed(to) + ">(" + x + ")";
            case BF16, F16 -> "widen(narrow<" + stored(to) + ">(static_cast<float>(" + x + ")))";
        };
    }

    private static String unary(Expr.UnaryOp op, String x, DType dtype) {
        String f = dtype == DType.F64 ? "" : "f";
        if (!dtype.isFloat()) {
            return switch (op) {
                case NEG -> "wrap_sub(" + computed(dtype) + "(0), " + x + ")";
                case ABS -> dtype == DType.U8 ? x : x + " < 0 ? wrap_sub(" + computed(dtype) + "(0), " + x + ") : " + x;
                case SIGN -> "sign(" + x + ")";
                case NOT -> dtype == DType.BOOL ? "!" + x : "static_cast<" + computed(dtype) + ">(~" + x + ")";
                default -> throw new IllegalStateException(op + " of " + dtype);
            };
        }
        return switch (op) {
            case NEG -> "-" + x;
            case ABS -> "fabs" + f + "(" + x + ")";
            case SIGN -> "sign(" + x + ")";
            case FLOOR -> "floor" + f + "(" + x + ")";
            case CEIL -> "ceil" + f + "(" + x + ")";
            case ROUND -> "rint" + f + "(" + x + ")";
            case SQRT -> "sqrt" + f + "(" + x + ")";
            case RSQRT -> computed(dtype) + "(1) / sqrt" + f + "(" + x + ")";
            case EXP -> "exp" + f + "(" + x + ")";
            case EXPM1 -> "expm1" + f + "(" + x + ")";
            case LOG -> "log" + f + "(" + x + ")";
            case LOG1P -> "log1p" + f + "(" + x + ")";
            case SIN -> "sin" + f + "(" + x + ")";
            case COS -> "cos" + f + "(" + x + ")";
            case TANH -> "tanh" + f + "(" + x + ")";
            case ERF -> "erf" + f + "(" + x + ")";
            case NOT -> throw new IllegalStateException(op + " of " + dtype);
        };
    }

    private static String binary(Expr.BinaryOp op, String a, String b, DType dtype) {
        boolean floating = dtype.isFloat();
        String type = computed(dtype);
        return switch (op) {
            case ADD -> floating ? a + " + " + b : "wrap_add(" + a + ", " + b + ")";
            case SUB -> floating ? a + " - " + b : "wrap_sub(" + a + ", " + b + ")";
            case MUL -> floating ? a + " * " + b : "wrap_mul(" + a + ", " + b + ")";
            case DIV -> floating ? a + " / " + b : "divide<" + type + ">(" + a + ", " + b + ")";
            case POW -> (dtype == DType.F64 ? "pow(" : "powf(") + a + ", " + b + ")";
            case MIN -> "minimum(" + a + ", " + b + ")";
            case MAX -> "maximum(" + a + ", " + b + ")";
            case REMAINDER -> floating ? "remainder_of(" + a + ", " + b + ")" : "remainder_of<" + type + ">(" + a + ", " + b + ")";
            case AND -> "static_cast<" + type + ">(" + a + " & " + b + ")";
            case OR -> "static_cast<" + type + ">(" + a + " | " + b + ")";
            case XOR -> "static_cast<" + type + ">(" + a + " ^ " + b + ")";
        };
    }

    /** The inputs an expression reads, each once, in the order met. */
    static void inputs(Expr e, List<Expr.Input> found) {
        switch (e) {
            case Expr.Input in -> {
                if (!found.contains(in)) {
                    found.add(in);
                }
            }
            case Expr.Constant c -> { }
            case Expr.Unary u -> inputs(u.a(), found);
            case Expr.Binary b -> {
                inputs(b.a(), found);
                inputs(b.b(), found);
            }
            case Expr.Compare c -> {
                inputs(c.a(), found);
                inputs(c.b(), found);
            }
            case Expr.Select s -> {
                inputs(s.condition(), found);
                inputs(s.a(), found);
                inputs(s.b(), found);
            }
            case Expr.Cast c -> inputs(c.a(), found);
        }
    }

    /** The parameters that hold literals: {@code , const float c0, ...}. */
    static String parameters(Map<Expr.Constant, String> literals) {
        StringBuilder text = new StringBuilder();
        literals.forEach((c, name) -> text.append(", const ").append(computed(c.dtype())).append(' ').append(name));
        return text.toString();
    }

    /** Their values, in the same order. */
    static void add(Launch.Builder launch, Map<Expr.Constant, String> literals) {
        literals.keySet().forEach(c -> {
            switch (c.dtype()) {
                case F64 -> launch.value(c.value());
                case F32, BF16, F16 -> launch.value((float) c.value());
                case I64 -> launch.value(c.bits());
                case I32, U8, BOOL -> launch.value((int) c.bits());
            }
        });
    }
}
