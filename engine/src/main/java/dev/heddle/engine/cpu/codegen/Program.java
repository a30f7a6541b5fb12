// What a loop computes, in the form loops are generated from and cached under: without the values of literals, so that
// x * 0.1 and x * 0.2 share their code, and with the powers that are products written as such.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToIntFunction;

/**
 * Expressions whose literals hold, in place of their bits, an index into {@code constants}.
 *
 * @param outputs one expression an output
 * @param constants bits of the literals, as in {@link Expr.Constant}
 */
record Program(List<Expr> outputs, long[] constants) {

    /** Takes the literals out of expressions that have been {@linkplain #simplify simplified}. */
    static Program of(List<Expr> simplified) {
        Map<Expr.Constant, Integer> indices = new HashMap<>();
        List<Expr> outputs = new ArrayList<>();
        for (Expr output : simplified) {
            outputs.add(numbered(output, indices));
        }
        long[] constants = new long[indices.size()];
        indices.forEach((constant, index) -> constants[index] = constant.bits());
        return new Program(List.copyOf(outputs), constants);
    }

    private static Expr numbered(Expr e, Map<Expr.Constant, Integer> indices) {
        if (e instanceof Expr.Constant c) {
            return new Expr.Constant(indices.computeIfAbsent(c, constant -> indices.size()), c.dtype());
        }
        List<Expr> operands = operands(e);
        return operands.isEmpty() ? e : with(e, operands.stream().map(operand -> numbered(operand, indices)).toList());
    }

    /** Powers to literal exponents that are exact products or quotients; done before fusion can matter, so always the same. */
    static Expr simplify(Expr e) {
        List<Expr> operands = operands(e);
        Expr simple = operands.isEmpty() ? e : with(e, operands.stream().map(Program::simplify).toList());
        if (simple instanceof Expr.Binary(Expr.BinaryOp op, Expr x, Expr.Constant y)
                && op == Expr.BinaryOp.POW && x.dtype().isFloat()) {
            if (y.value() == 1) {
                return x;
            } else if (y.value() == 2) {
                return new Expr.Binary(Expr.BinaryOp.MUL, x, x);
            } else if (y.value() == 3) {
                return new Expr.Binary(Expr.BinaryOp.MUL, new Expr.Binary(Expr.BinaryOp.MUL, x, x), x);
            } else if (y.value() == -1) {
                return new Expr.Binary(Expr.BinaryOp.DIV, Expr.constant(1, x.dtype()), x);
            }
        }
        return simple;
    }

    /** The operands of a node, none for inputs and literals. */
    static List<Expr> operands(Expr e) {
        return switch (e) {
            case Expr.Input in -> List.of();
            case Expr.Constant c -> List.of();
            case Expr.Unary u -> List.of(u.a());
            case Expr.Binary b -> List.of(b.a(), b.b());
            case Expr.Compare c -> List.of(c.a(), c.b());
            case Expr.Select s -> List.of(s.condition(), s.a(), s.b());
            case Expr.Cast c -> List.of(c.a());
        };
    }

    /** The same node over other operands. */
    static Expr with(Expr e, List<Expr> operands) {
        return switch (e) {
            case Expr.Input in -> in;
            case Expr.Constant c -> c;
            case Expr.Unary u -> new Expr.Unary(u.op(), operands.getFirst());
            case Expr.Binary b -> new Expr.Binary(b.op(), operands.getFirst(), operands.getLast());
            case Expr.Compare c -> new Expr.Compare(c.op(), operands.getFirst(), operands.getLast());
            case Expr.Select s -> new Expr.Select(operands.get(0), operands.get(1), operands.get(2));
            case Expr.Cast c -> new Expr.Cast(operands.getFirst(), c.dtype());
        };
    }

    /** The same expression of other inputs: their indices are what the function makes of them. */
    static Expr withInputs(Expr e, ToIntFunction<Expr.Input> index) {
        if (e instanceof Expr.Input input) {
            return new Expr.Input(index.applyAsInt(input), input.dtype());
        }
        List<Expr> operands = operands(e);
        return operands.isEmpty() ? e : with(e, operands.stream().map(operand -> withInputs(operand, index)).toList());
    }

    /** How often each distinct node is used, by other nodes or as an output. */
    static Map<Expr, Integer> uses(List<Expr> outputs) {
        Map<Expr, Integer> uses = new HashMap<>();
        outputs.forEach(output -> count(output, uses));
        return uses;
    }

    private static void count(Expr e, Map<Expr, Integer> uses) {
        if (uses.merge(e, 1, Integer::sum) == 1) {
            operands(e).forEach(operand -> count(operand, uses));
        }
    }

    /** Rough time of an element in units of a vector addition with its loads and store: what decides about threads. */
    static int cost(List<Expr> outputs) {
        int cost = 1;
        for (Expr e : uses(outputs).keySet()) {
            cost += switch (e) {
                case Expr.Unary(Expr.UnaryOp op, Expr a) -> switch (op) {
                    case EXP, EXPM1, LOG, LOG1P, SIN, COS, TANH, ERF -> isVector(a.dtype()) ? 6 : 60;
                    case SQRT, RSQRT -> 2;
                    default -> isVector(a.dtype()) ? 0 : 2;
                };
                case Expr.Binary(Expr.BinaryOp op, Expr a, Expr b) -> switch (op) {
                    case POW -> isVector(a.dtype()) ? 20 : 100;
                    case DIV -> 2;
                    case REMAINDER -> 20;
                    default -> isVector(a.dtype()) ? 0 : 2;
                };
                case Expr.Cast c -> isVector(c.dtype()) && isVector(c.a().dtype()) ? 0 : 4;
                default -> isVector(e.dtype()) ? 0 : 2;
            };
        }
        return cost;
    }

    /**
     * Rough size of a vector loop's body in bytes of code. The virtual machine never compiles methods above 8000 bytes,
     * which would make them a thousand times slower.
     */
    static int codeBytes(List<Expr> outputs) {
        return uses(outputs).keySet().stream().mapToInt(Program::codeBytes).sum()
                + outputs.stream().mapToInt(e -> 30 + roundingBytes(e.dtype())).sum();
    }

    /** What a node adds to {@link #codeBytes(List)}. */
    static int codeBytes(Expr e) {
        return switch (e) {
            case Expr.Input in -> 20 + roundingBytes(in.dtype());
            case Expr.Constant c -> 3;
            case Expr.Unary u -> switch (u.op()) {
                case EXP, EXPM1, TANH -> 240;
                case LOG, LOG1P, SIN, COS, ERF -> 400;
                case FLOOR, CEIL, ROUND -> 150;
                case SIGN, RSQRT -> 40;
                default -> 10;
            };
            case Expr.Binary b -> b.op() == Expr.BinaryOp.POW ? 1220 : 10;
            case Expr.Compare c -> 15;
            case Expr.Select s -> 20;
            case Expr.Cast c -> 30 + roundingBytes(c.dtype()) + roundingBytes(c.a().dtype());
        };
    }

    private static int roundingBytes(DType dtype) {
        return dtype == DType.F16 ? 250 : dtype == DType.BF16 ? 90 : 0;
    }

    /** Whether values of the type are f32 lanes or masks in vector loops. */
    static boolean isVector(DType dtype) {
        return dtype == DType.BOOL || dtype.computeType() == DType.F32;
    }

    /** Whether a 16-bit float may hold digits it cannot store, being the result of arithmetic. */
    static boolean isUnrounded(Expr e) {
        return (e.dtype() == DType.BF16 || e.dtype() == DType.F16) && !(e instanceof Expr.Input) && !(e instanceof Expr.Cast);
    }
}
