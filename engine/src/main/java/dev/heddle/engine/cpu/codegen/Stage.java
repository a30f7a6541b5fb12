// Splits expressions into parts that one loop can compute: either all in f32 and truth values, which become vectors, or
// all in the other types, which become Java's scalars. So f32 arithmetic is always done by the same code, with the same
// bits, whatever it is fused with. Programs too large for one loop are split too.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * One pass over the elements.
 *
 * @param vector whether a vector loop computes it, otherwise a scalar loop does
 * @param outputs expressions over the inputs of the whole and, numbered after them, the temporaries of earlier stages
 * @param results for each output, the index of the final output it is, or of the temporary, counted on from the outputs
 */
record Stage(boolean vector, List<Expr> outputs, List<Integer> results) {

    /** Bounds in {@link Program#codeBytes}: of a loop, and of what is cut off a program that is larger. */
    private static final int LARGEST = 7000;
    private static final int CUT = 3000;
    private static final int ANY = -1; // level of what both kinds of loop can do: inputs and literals

    /**
     * The stages of some expressions, in order; mostly one.
     *
     * @param inputs number of inputs
     */
    static List<Stage> of(List<Expr> outputs, int inputs) {
        Map<Expr, Integer> levels = new HashMap<>();
        Map<Expr, Integer> sizes = Program.codeBytes(outputs) > LARGEST ? new HashMap<>() : null;
        outputs.forEach(output -> level(output, levels, sizes));
        List<Integer> used = outputs.stream().map(e -> concrete(e, levels)).sorted().distinct().toList();
        int last = used.getLast();
        boolean single = levels.values().stream().allMatch(level -> level == ANY || level == last) && used.size() == 1;
        if (single) {
            return List.of(new Stage(isVector(last), outputs, indices(outputs.size())));
        }
        // Values that a later stage needs, and outputs of stages before the last: those are copied at the end, because an
        // output may lie where an input lies that a later stage still reads.
        Map<Expr, Integer> temporaries = new HashMap<>();
        List<Expr> ordered = new ArrayList<>();
        for (Expr e : levels.keySet()) {
            for (Expr operand : Program.operands(e)) {
                if (levels.get(operand) != ANY && levels.get(operand) < levels.get(e)) {
                    ordered.add(operand);
                }
            }
        }
        for (Expr output : outputs) {
            if (concrete(output, levels) < last) {
                ordered.add(output);
            }
        }
        ordered = new ArrayList<>(ordered.stream().distinct().toList());
        ordered.sort(Comparator.comparing((Expr e) -> concrete(e, levels)).thenComparing(Expr::toString));
        ordered.forEach(e -> temporaries.put(e, temporaries.size()));
        List<Stage> stages = new ArrayList<>();
        for (int level = 0; level <= last; level++) {
            List<Expr> computed = new ArrayList<>();
            List<Integer> results = new ArrayList<>();
            for (Expr e : ordered) {
                if (concrete(e, levels) == level) {
                    computed.add(rewrite(e, level, levels, temporaries, inputs));
                    results.add(outputs.size() + temporaries.get(e));
                }
            }
            for (int i = 0; i < outputs.size() && level == last; i++) {
                if (concrete(outputs.get(i), levels) == last) {
                    computed.add(rewrite(outputs.get(i), level, levels, temporaries, inputs));
                    results.add(i);
                }
            }
            if (!computed.isEmpty()) {
                stages.add(new Stage(isVector(level), computed, results));
            }
        }
        for (int i = 0; i < outputs.size(); i++) {
            Expr output = outputs.get(i);
            if (concrete(output, levels) < last) {
                Expr copy = new Expr.Input(inputs + temporaries.get(output), output.dtype());
                stages.add(new Stage(isCopiedByVectors(output), List.of(copy), List.of(i)));
            }
        }
        return stages;
    }

    private static List<Integer> indices(int count) {
        return IntStream.range(0, count).boxed().toList();
    }

    private static boolean isVector(int level) {
        return level % 2 == 0;
    }

    private static boolean isCopiedByVectors(Expr e) {
        return Program.isVector(e.dtype());
    }

    /** Stages alternate: even levels are vector loops, odd ones scalar loops. */
    private static int concrete(Expr e, Map<Expr, Integer> levels) {
        int level = levels.get(e);
        return level != ANY ? level : isCopiedByVectors(e) ? 0 : 1;
    }

    private static int level(Expr e, Map<Expr, Integer> levels, Map<Expr, Integer> sizes) {
        Integer known = levels.get(e);
        if (known != null) {
            return known;
        }
        int operands = ANY;
        for (Expr operand : Program.operands(e)) {
            operands = Math.max(operands, level(operand, levels, sizes));
        }
        int level = switch (kind(e)) {
            case ANYWHERE -> operands == ANY && !Program.operands(e).isEmpty() ? 0 : operands;
            case VECTOR -> operands == ANY ? 0 : operands + operands % 2;
            case SCALAR -> operands == ANY ? 1 : operands + 1 - operands % 2;
        };
        if (sizes != null) {
            int size = Program.codeBytes(e);
            for (Expr operand : Program.operands(e)) {
                size += levels.get(operand) == level ? sizes.get(operand) : 0;
            }
            if (size > CUT && operands == level) {
                level += 2;
                size = Program.codeBytes(e);
            }
            sizes.put(e, size);
        }
        levels.put(e, level);
        return level;
    }

    private enum Kind { VECTOR, SCALAR, ANYWHERE }

    private static Kind kind(Expr e) {
        return switch (e) {
            case Expr.Input in -> Kind.ANYWHERE;
            case Expr.Constant c -> Kind.ANYWHERE;
            case Expr.Unary u -> kind(u.dtype());
            case Expr.Binary b -> b.op() == Expr.BinaryOp.REMAINDER ? Kind.SCALAR : kind(b.dtype());
            case Expr.Compare c -> kind(c.a().dtype());
            case Expr.Select s -> kind(s.dtype());
            case Expr.Cast(Expr a, DType to) -> {
                if (a instanceof Expr.Input && a.dtype() == DType.U8 && to.computeType() == DType.F32) {
                    yield Kind.VECTOR;
                }
                boolean vector = Program.isVector(a.dtype()) && Program.isVector(to);
                yield !vector ? Kind.SCALAR : a.dtype() == DType.BOOL ? Kind.ANYWHERE : Kind.VECTOR;
            }
        };
    }

    private static Kind kind(DType dtype) {
        return dtype == DType.BOOL ? Kind.ANYWHERE : Program.isVector(dtype) ? Kind.VECTOR : Kind.SCALAR;
    }

    private static Expr rewrite(Expr e, int level, Map<Expr, Integer> levels, Map<Expr, Integer> temporaries, int inputs) {
        if (temporaries.containsKey(e) && concrete(e, levels) < level) {
            return new Expr.Input(inputs + temporaries.get(e), e.dtype());
        }
        List<Expr> operands = Program.operands(e);
        return operands.isEmpty() ? e : Program.with(e, operands.stream()
                .map(operand -> rewrite(operand, level, levels, temporaries, inputs)).toList());
    }
}
