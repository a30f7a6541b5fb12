// The passes that make fewer, larger kernels: common subexpressions, elementwise fusion, epilogues.
package dev.heddle.engine.plan;

import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Rewrites a list of instructions in topological order. */
final class Fusion {
    /** Bounds on one fused kernel: beyond them registers spill and compilation slows. */
    private static final int MAX_INPUTS = 16;
    private static final int MAX_SIZE = 160;
    private static final int MAX_SCALAR_SIZE = 8;

    private final Planner planner;
    private final Backend backend;
    private final Instruction[] producer; // by value
    private final int[] uses; // by value: number of instructions that read it, or more than that if it is wanted itself
    private final boolean[] merged; // by graph node

    Fusion(Planner planner, Backend backend) {
        this.planner = planner;
        this.backend = backend;
        producer = new Instruction[planner.values()];
        uses = new int[planner.values()];
        merged = new boolean[planner.graph().nodes()];
    }

    /** Merges instructions that do the same to the same values. */
    static List<Instruction> commonSubexpressions(List<Instruction> instructions, int[] alias) {
        record Key(Op op, List<Integer> inputs) {}
        Map<Key, Instruction> known = new HashMap<>();
        List<Instruction> kept = new ArrayList<>();
        for (Instruction i : instructions) {
            for (int k = 0; k < i.inputs.length; k++) {
                i.inputs[k] = alias[i.inputs[k]];
            }
            Instruction same = known.putIfAbsent(new Key(i.op, Arrays.stream(i.inputs).boxed().toList()), i);
            if (same == null) {
                kept.add(i);
                continue;
            }
            for (int k = 0; k < i.outputs.length; k++) {
                alias[i.outputs[k]] = same.outputs[k];
            }
        }
        return kept;
    }

    /**
     * Turns the transpose of a product, {@code (A B)^T}, into the product of transposes, {@code B^T A^T}: products take
     * transposed operands as they are, while whoever reads a transposed result reads it out of order. Gradients of linear
     * layers are such.
     */
    static List<Instruction> transposedProducts(List<Instruction> instructions, Planner planner) {
        Map<Integer, Instruction> products = new HashMap<>();
        Map<Integer, Integer> readers = new HashMap<>();
        for (Instruction i : instructions) {
            if (i.op instanceof MatMul) {
                products.put(i.outputs[0], i);
            }
            for (int value : i.inputs) {
                readers.merge(value, 1, Integer::sum);
            }
        }
        planner.wanted().forEach(value -> readers.merge(value, 1, Integer::sum));
        List<Instruction> result = new ArrayList<>();
        for (Instruction i : instructions) {
            Instruction product = i.op instanceof Movement.Permute p && isTranspose(p) ? products.get(i.inputs[0]) : null;
            if (product == null || readers.get(i.inputs[0]) != 1
                    || planner.spec(product.inputs[0]).shape().rank() != planner.spec(product.inputs[1]).shape().rank()) {
                result.add(i);
                continue;
            }
            int[] transposed = new int[2];
            for (int k = 0; k < 2; k++) {
                int operand = product.inputs[1 - k];
                List<Spec> spec = i.op.infer(List.of(planner.spec(operand)));
                transposed[k] = planner.newValue(spec.getFirst());
                result.add(new Instruction(i.op, new int[] {operand}, new int[] {transposed[k]}, i.node));
            }
            result.remove(product);
            result.add(new Instruction(product.op, transposed, i.outputs, product.node));
        }
        return result;
    }

    private static boolean isTranspose(Movement.Permute permute) {
        int n = permute.order().size();
        for (int i = 0; i < n; i++) {
            int swapped = i == n - 1 ? n - 2 : i == n - 2 ? n - 1 : i;
            if (permute.order().get(i) != swapped) {
                return false;
            }
        }
        return n >= 2;
    }

    /** Fuses what can be. */
    List<Instruction> fuse(List<Instruction> instructions) {
        for (Instruction i : instructions) {
            for (int value : i.outputs) {
                producer[value] = i;
            }
            countInputs(i, 1);
        }
        for (int value : planner.wanted()) {
            uses[value] += 2;
        }
        for (Instruction i : instructions) {
            if (i.op instanceof Elementwise || i.op instanceof Reduce) {
                absorbProducers(i);
            }
        }
        List<Instruction> result = new ArrayList<>();
        for (Instruction i : instructions) {
            if (!merged[i.node]) {
                result.addAll(foldIntoProducer(i));
            }
        }
        result.removeIf(i -> merged[i.node]);
        return result;
    }

    private void countInputs(Instruction i, int by) {
        for (int k = 0; k < i.inputs.length; k++) {
            boolean first = true;
            for (int before = 0; before < k; before++) {
                first &= i.inputs[before] != i.inputs[k];
            }
            if (first) {
                uses[i.inputs[k]] += by;
            }
        }
    }

    /** Puts elementwise producers that nobody else needs, or that cost less than to store what they make, into the expressions of a consumer. */
    private void absorbProducers(Instruction consumer) {
        boolean grown = true;
        while (grown) {
            grown = false;
            for (int value : consumer.inputs) {
                Instruction p = producer[value];
                if (p != null && p.op instanceof Elementwise e && e.outputs().size() == 1 && (uses[value] == 1 || onlyWidens(e, p))
                        && fits(consumer, value, e, p) && absorb(consumer, value, e.outputs().getFirst(), p)) {
                    grown = true;
                    break;
                }
            }
        }
    }

    /** Whether all that a producer does is to convert 16-bit floats to wider ones, and to multiply them by a number or so. */
    private boolean onlyWidens(Elementwise e, Instruction p) {
        Spec made = planner.spec(p.outputs[0]);
        int narrow = 0;
        for (int input : p.inputs) {
            Spec read = planner.spec(input);
            boolean whole = read.shape().equals(made.shape()) && read.dtype().isFloat() && read.dtype().bytes() < made.dtype().bytes();
            narrow += whole ? 1 : 0;
            if (!whole && read.shape().elements() != 1) {
                return false;
            }
        }
        return narrow == 1 && e.outputs().getFirst().size() <= MAX_SCALAR_SIZE;
    }

    private boolean fits(Instruction consumer, int value, Elementwise e, Instruction p) {
        Spec made = planner.spec(value);
        if (consumer.op instanceof Reduce) {
            return true;
        }
        return made.shape().equals(planner.spec(consumer.outputs[0]).shape())
                || made.shape().elements() == 1 && made.shape().rank() <= planner.spec(consumer.outputs[0]).shape().rank()
                        && e.outputs().getFirst().size() <= MAX_SCALAR_SIZE;
    }

    private boolean absorb(Instruction consumer, int value, Expr made, Instruction p) {
        List<Integer> inputs = new ArrayList<>();
        for (int input : consumer.inputs) {
            if (input != value && !inputs.contains(input)) {
                inputs.add(input);
            }
        }
        for (int input : p.inputs) {
            if (!inputs.contains(input)) {
                inputs.add(input);
            }
        }
        if (inputs.size() > MAX_INPUTS) {
            return false;
        }
        Expr substituted = made.substitute(renumber(p.inputs, inputs));
        Expr[] replacements = renumber(consumer.inputs, inputs);
        for (int k = 0; k < replacements.length; k++) {
            if (consumer.inputs[k] == value) {
                replacements[k] = substituted;
            }
        }
        if (consumer.op instanceof Elementwise e) {
            List<Expr> outputs = new ArrayList<>();
            int size = 0;
            for (Expr output : e.outputs()) {
                outputs.add(output.substitute(replacements));
                size += outputs.getLast().size();
            }
            if (size > MAX_SIZE * outputs.size()) {
                return false;
            }
            take(consumer, inputs, p);
            consumer.op = new Elementwise(outputs);
        } else {
            Expr prologue = consumer.prologue == null ? replacements[0] : consumer.prologue.substitute(replacements);
            if (prologue.size() > MAX_SIZE) {
                return false;
            }
            take(consumer, inputs, p);
            consumer.prologue = prologue;
        }
        return true;
    }

    private void take(Instruction consumer, List<Integer> inputs, Instruction p) {
        countInputs(consumer, -1);
        boolean last = uses[p.outputs[0]] == 0;
        countInputs(p, last ? -1 : 0);
        consumer.inputs = inputs.stream().mapToInt(i -> i).toArray();
        countInputs(consumer, 1);
        merged[p.node] |= last;
    }

    private Expr[] renumber(int[] from, List<Integer> to) {
        Expr[] result = new Expr[from.length];
        for (int k = 0; k < from.length; k++) {
            result[k] = new Expr.Input(to.indexOf(from[k]), planner.spec(from[k]).dtype());
        }
        return result;
    }

    /** Turns {@code max(product + bias, 0)}, or a part of it, into an epilogue of the convolution or matrix product. */
    private List<Instruction> foldIntoProducer(Instruction i) {
        if (!(i.op instanceof Elementwise e) || e.outputs().size() != 1) {
            return List.of(i);
        }
        Expr rest = e.outputs().getFirst();
        boolean relu = false;
        if (rest instanceof Expr.Binary(Expr.BinaryOp op, Expr a, Expr.Constant c) && op == Expr.BinaryOp.MAX && c.value() == 0) {
            relu = true;
            rest = a;
        }
        int value = -1;
        int bias = -1;
        if (rest instanceof Expr.Binary(Expr.BinaryOp op, Expr.Input a, Expr.Input b) && op == Expr.BinaryOp.ADD) {
            value = i.inputs[a.index()];
            bias = i.inputs[b.index()];
        } else if (relu && rest instanceof Expr.Input a) {
            value = i.inputs[a.index()];
        }
        Instruction p = value < 0 ? null : producer[value];
        Instruction view = null; // of a matrix product, that splits its rows
        if (p != null && p.op instanceof Movement.Reshape && uses[value] == 1) {
            view = p;
            p = producer[p.inputs[0]];
        }
        boolean convolution = p != null && p.op instanceof Convolution c && c.direction() == Convolution.Direction.FORWARD && view == null;
        boolean product = p != null && p.op instanceof MatMul && keepsColumns(p.outputs[0], value);
        if (!convolution && !product || uses[p.outputs[0]] != 1 || p.epilogue != Step.Epilogue.NONE || p.inputs.length != 2) {
            return List.of(i);
        }
        int vector = bias < 0 ? -1 : convolution ? channelVector(bias, planner.spec(value)) : columnVector(bias, i, value);
        Step.Epilogue epilogue = new Step.Epilogue(bias >= 0, relu);
        if (bias >= 0 && vector < 0
                || !backend.folds(p.op, epilogue, List.of(planner.spec(p.inputs[0]), planner.spec(p.inputs[1])))) {
            return List.of(i);
        }
        merged[p.node] = true;
        int[] inputs = bias < 0 ? p.inputs : new int[] {p.inputs[0], p.inputs[1], vector};
        int[] outputs = view == null ? i.outputs : new int[] {planner.newValue(planner.spec(p.outputs[0]))};
        Instruction folded = new Instruction(p.op, inputs, outputs, i.node);
        folded.epilogue = epilogue;
        if (view == null) {
            return List.of(folded);
        }
        merged[view.node] = true;
        return List.of(folded, new Instruction(view.op, outputs, i.outputs, i.node));
    }

    /** Whether a value is a matrix product of two axes, or a view of it that splits its rows. */
    private boolean keepsColumns(int product, int view) {
        Shape from = planner.spec(product).shape();
        Shape to = planner.spec(view).shape();
        return from.rank() == 2 && to.rank() >= 2 && from.dim(-1) == to.dim(-1);
    }

    /** The {@code (O)} value of which a value is the {@code (O, 1, ...)} view that broadcasts over channels, or -1. */
    private int channelVector(int value, Spec y) {
        Instruction p = producer[value];
        if (p == null || !(p.op instanceof Movement.Reshape) || planner.spec(p.inputs[0]).shape().rank() != 1) {
            return -1;
        }
        Spec view = planner.spec(value);
        boolean channels = view.shape().rank() == y.shape().rank() - 1 && view.shape().dim(0) == y.shape().dim(1)
                && view.shape().elements() == y.shape().dim(1) && view.dtype() == y.dtype();
        return channels ? p.inputs[0] : -1;
    }

    /** The value itself if it is {@code (N)} and broadcasts over the rows of a product, which the sum has the shape of, or -1. */
    private int columnVector(int value, Instruction sum, int product) {
        Spec y = planner.spec(product);
        return planner.spec(value).equals(new Spec(y.dtype(), Shape.of(y.shape().dim(-1))))
                && planner.spec(sum.outputs[0]).equals(y) ? value : -1;
    }
}
