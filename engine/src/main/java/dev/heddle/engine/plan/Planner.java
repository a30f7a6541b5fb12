// From a graph to the list of instructions that will run: what, fused how, in which order, into which memory.
package dev.heddle.engine.plan;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Compiles one graph. Values keep the numbers of the graph; a few more are made up for copies. Results ("wanted" values)
 * are claimed by the instruction that computes them where possible, so that it writes straight to the result's or the
 * variable's memory; otherwise a copy is put in.
 */
final class Planner {
    /** Where a wanted value goes. */
    record Target(boolean state, int index) {}

    private final PlanCache.Source source;
    private final Graph graph;
    private final boolean fusion;
    private final PlanCache device;
    private final int[] alias; // value -> the value that stands for it
    private final List<Spec> extra = new ArrayList<>(); // specs of made-up values
    private List<Instruction> instructions = new ArrayList<>();

    Planner(PlanCache.Source source, boolean fusion, PlanCache device) {
        this.source = source;
        this.graph = source.graph();
        this.fusion = fusion;
        this.device = device;
        alias = new int[graph.values()];
        Arrays.setAll(alias, i -> i);
    }

    Plan plan() {
        for (int node = 0; node < graph.nodes(); node++) {
            importNode(node);
        }
        if (fusion) {
            instructions = Fusion.commonSubexpressions(instructions, alias);
            instructions = Joining.join(instructions, this::spec, device.backend());
            instructions = Fusion.transposedProducts(instructions, this);
            instructions = new Fusion(this, device.backend()).fuse(instructions);
        }
        int[] roots = resolve(graph.roots());
        int[] sets = resolve(graph.setValues());
        dropUnused(roots, sets);
        Target[] targets = claim(roots, sets);
        return new Lowering(this, device, instructions, targets).lower();
    }

    private int chase(int value) {
        int v = value;
        while (alias[v] != v) {
            v = alias[v];
        }
        return v;
    }

    private int[] resolve(int[] values) {
        return Arrays.stream(values).map(this::chase).toArray();
    }

    private void importNode(int node) {
        Op op = graph.op(node);
        if (op instanceof Source) {
            return;
        }
        int[] inputs = resolve(graph.inputs(node));
        int first = graph.firstValue(node);
        if (op instanceof Movement && !(op instanceof Movement.Pad) && !(op instanceof Movement.Concat)
                && !(op instanceof Movement.Flip) && !(op instanceof Movement.Slice) && !(op instanceof Movement.After) && isIdentity(op, spec(inputs[0]), spec(first))) {
            alias[first] = inputs[0];
            return;
        }
        int[] outputs = new int[graph.outputs(node).length];
        Arrays.setAll(outputs, k -> first + k);
        instructions.add(new Instruction(op, inputs, outputs, node));
    }

    private static boolean isIdentity(Op op, Spec in, Spec out) {
        if (op instanceof Movement.Permute(List<Integer> order)) {
            for (int i = 0; i < order.size(); i++) {
                if (order.get(i) != i) {
                    return false;
                }
            }
        }
        return in.equals(out);
    }

    private void dropUnused(int[] roots, int[] sets) {
        boolean[] needed = new boolean[values()];
        for (int value : roots) {
            needed[value] = true;
        }
        for (int value : sets) {
            needed[value] = true;
        }
        for (int i = instructions.size() - 1; i >= 0; i--) {
            Instruction instruction = instructions.get(i);
            boolean used = false;
            for (int value : instruction.outputs) {
                used |= needed[value];
            }
            if (!used) {
                instructions.remove(i);
                continue;
            }
            for (int value : instruction.inputs) {
                needed[value] = true;
            }
        }
    }

    /**
     * Says which value goes where, and orders the instructions: what computes results first, then what only computes the
     * next values of variables, so that every reader of an old value comes before it is overwritten; copies last.
     */
    private Target[] claim(int[] roots, int[] sets) {
        boolean[] computed = new boolean[values()];
        boolean[] read = new boolean[values()];
        for (Instruction i : instructions) {
            for (int value : i.outputs) {
                computed[value] = !isView(i.op);
            }
            for (int value : i.inputs) {
                read[value] = true;
            }
        }
        Target[] claimed = new Target[values() + roots.length + 2 * sets.length];
        List<Instruction> copies = new ArrayList<>();
        for (int r = 0; r < roots.length; r++) {
            read[roots[r]] = true;
            if (computed[roots[r]] && claimed[roots[r]] == null) {
                claimed[roots[r]] = new Target(false, r);
            } else {
                int copy = newValue(spec(roots[r]));
                claimed[copy] = new Target(false, r);
                copies.add(copyOf(roots[r], copy));
            }
        }
        List<Instruction> lastCopies = new ArrayList<>();
        for (int s = 0; s < sets.length; s++) {
            Target target = new Target(true, graph.setVariables()[s]);
            int value = sets[s];
            if (computed[value] && claimed[value] == null) {
                claimed[value] = target;
                continue;
            }
            if (!computed[value]) { // old state, perhaps a view of it: save it before states are overwritten
                int saved = newValue(spec(value));
                copies.add(copyOf(value, saved));
                read[value] = true;
                value = saved;
            }
            int copy = newValue(spec(value));
            claimed[copy] = target;
            lastCopies.add(copyOf(value, copy));
        }
        List<Instruction> ordered = new ArrayList<>();
        List<Instruction> updates = new ArrayList<>();
        for (Instruction i : instructions) {
            boolean update = i.op instanceof Elementwise;
            for (int value : i.outputs) {
                update &= claimed[value] != null && claimed[value].state() && !read[value];
            }
            (update ? updates : ordered).add(i);
        }
        ordered.addAll(copies);
        ordered.addAll(updates);
        ordered.addAll(lastCopies);
        instructions = ordered;
        return claimed;
    }

    private Instruction copyOf(int from, int to) {
        return Instruction.copy(new Expr.Input(0, spec(from).dtype()), from, to, from < graph.values() ? graph.nodeOf(from) : 0);
    }

    /** Whether an op may become a layout of its input instead of a step. */
    static boolean isView(Op op) {
        return op instanceof Movement && !(op instanceof Movement.Pad) && !(op instanceof Movement.Concat);
    }

    int newValue(Spec spec) {
        extra.add(spec);
        return graph.values() + extra.size() - 1;
    }

    Spec spec(int value) {
        return value < graph.values() ? graph.spec(value) : extra.get(value - graph.values());
    }

    int values() {
        return graph.values() + extra.size();
    }

    boolean fusion() {
        return fusion;
    }

    Graph graph() {
        return graph;
    }

    PlanCache.Source source() {
        return source;
    }

    /** The values that must exist when the plan has run. */
    List<Integer> wanted() {
        List<Integer> wanted = new ArrayList<>();
        for (int value : graph.roots()) {
            wanted.add(chase(value));
        }
        for (int value : graph.setValues()) {
            wanted.add(chase(value));
        }
        return wanted;
    }
}
