// Gives every value a layout and a place in memory, and turns instructions into steps.
package dev.heddle.engine.plan;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Step.Operand;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The last pass of the planner. */
final class Lowering {
    private final Planner planner;
    private final PlanCache device;
    private final Backend backend;
    private final List<Instruction> instructions;
    private final Planner.Target[] targets; // by value, null where the planner is free
    private final int[] storage; // by value
    private final Layout[] layout; // by value
    private final Map<Operand, Operand> copies = new HashMap<>(); // an operand and the layout wanted -> the copy made
    private final List<Storage> storages = new ArrayList<>();
    private final List<Step> steps = new ArrayList<>();
    private final List<Step> lastSteps = new ArrayList<>();
    private final int[] lastReader; // by variable slot: position of the last instruction that reads the old value
    private final boolean[] onlyReshaped; // by value: all that reads it is a reshape, which takes row-major order best
    private final int[] stateStorage; // by variable slot, -1 until used

    Lowering(Planner planner, PlanCache device, List<Instruction> instructions, Planner.Target[] targets) {
        this.planner = planner;
        this.device = device;
        this.backend = device.backend();
        this.instructions = instructions;
        this.targets = targets;
        storage = new int[planner.values()];
        layout = new Layout[planner.values()];
        stateStorage = new int[planner.source().slots().length];
        Arrays.fill(stateStorage, -1);
        lastReader = new int[stateStorage.length];
        Arrays.fill(lastReader, -1);
        onlyReshaped = new boolean[planner.values()];
        Arrays.fill(onlyReshaped, true);
        for (Instruction i : instructions) {
            for (int value : i.inputs) {
                onlyReshaped[value] &= i.op instanceof Movement.Reshape;
            }
        }
    }

    Plan lower() {
        Graph graph = planner.graph();
        for (int node = 0; node < graph.nodes(); node++) {
            if (graph.op(node) instanceof Source source) {
                for (int value = graph.firstValue(node); value < graph.firstValue(node) + graph.outputs(node).length; value++) {
                    storage[value] = switch (source) {
                        case SCALAR -> newStorage(Storage.Kind.SCALAR, value, 8);
                        case DATA -> newStorage(Storage.Kind.SOURCE, value, graph.spec(value).bytes());
                        case STATE -> state(graph.variable(node), graph.spec(value));
                    };
                    layout[value] = Layout.contiguous(graph.spec(value));
                }
            }
        }
        findLastReaders();
        for (int position = 0; position < instructions.size(); position++) {
            lower(instructions.get(position), position);
        }
        steps.addAll(lastSteps);
        computeViewedResultsInPlace();
        return new Plan(planner.source(), steps, storages, device, planner.fusion());
    }

    /**
     * A result that is a view of a computed value and in the order in which that lies in memory (a permuted convolution, a reshaped
     * product) would be copied, and so would what a scatter adds to; instead the value is computed in the copy's memory. Not if a scatter
     * then adds to the one of them while the other is needed.
     */
    private void computeViewedResultsInPlace() {
        for (int c = steps.size() - 1; c >= 0; c--) {
            Step copy = steps.get(c);
            Operand to = copy.outputs().getFirst();
            if (!isCopy(copy) || storages.get(to.storage()).kind() == Storage.Kind.STATE) {
                continue;
            }
            Operand from = copy.inputs().getFirst();
            Storage value = storages.get(from.storage());
            boolean whole = from.layout().equals(to.layout()) && from.layout().isContiguous() && from.layout().offset() == 0
                    && to.layout().spec().bytes() == value.bytes();
            if (value.kind() == Storage.Kind.ARENA && whole && staySame(from.storage(), to.storage(), steps.subList(c + 1, steps.size()))) {
                steps.remove(c);
                steps.replaceAll(step -> new Step(step.op(), step.prologue(), step.epilogue(), moved(step.inputs(), from.storage(), to.storage()),
                        moved(step.outputs(), from.storage(), to.storage()), step.node()));
            }
        }
    }

    /** Whether a copy and its original may be one: no later step changes the original, nor the copy while the original is needed. */
    private static boolean staySame(int original, int copy, List<Step> later) {
        return later.stream().noneMatch(step -> step.writes(original))
                && (later.stream().noneMatch(step -> step.writes(copy)) || later.stream().noneMatch(step -> step.reads(original)));
    }

    private static boolean isCopy(Step step) {
        return step.op() instanceof Elementwise e && e.outputs().size() == 1 && e.outputs().getFirst() instanceof Expr.Input && step.inputs().size() == 1;
    }

    private static List<Operand> moved(List<Operand> operands, int from, int to) {
        return operands.stream().map(operand -> operand.storage() == from ? new Operand(to, operand.layout()) : operand).toList();
    }

    private int newStorage(Storage.Kind kind, int index, long bytes) {
        storages.add(new Storage(kind, index, bytes));
        return storages.size() - 1;
    }

    private int state(int slot, Spec spec) {
        if (stateStorage[slot] < 0) {
            stateStorage[slot] = newStorage(Storage.Kind.STATE, slot, spec.bytes());
        }
        return stateStorage[slot];
    }

    /** Follows views, so that reading a view of a variable counts as reading the variable. */
    private void findLastReaders() {
        Graph graph = planner.graph();
        int[] slot = new int[planner.values()];
        Arrays.fill(slot, -1);
        for (int node = 0; node < graph.nodes(); node++) {
            if (graph.op(node) == Source.STATE) {
                slot[graph.firstValue(node)] = graph.variable(node);
            }
        }
        for (int position = 0; position < instructions.size(); position++) {
            Instruction i = instructions.get(position);
            for (int value : i.inputs) {
                if (slot[value] >= 0) {
                    lastReader[slot[value]] = position;
                }
            }
            if (Planner.isView(i.op)) {
                slot[i.outputs[0]] = slot[i.inputs[0]];
            }
        }
    }

    private void lower(Instruction i, int position) {
        if (Planner.isView(i.op)) {
            view(i);
            return;
        }
        List<Operand> inputs = new ArrayList<>();
        for (int value : i.inputs) {
            inputs.add(new Operand(storage[value], layout[value]));
        }
        if (i.op instanceof Elementwise || i.op instanceof Reduce) {
            var shape = i.op instanceof Elementwise ? planner.spec(i.outputs[0]).shape() : reducedShape(i);
            inputs.replaceAll(x -> new Operand(x.storage(), x.layout().expand(shape)));
        } else {
            List<Layout> given = inputs.stream().map(Operand::layout).toList();
            for (int k = i.op instanceof Scatter ? 1 : 0; k < inputs.size(); k++) { // what a scatter adds to may lie anyhow, see below
                Layout wanted = backend.inputLayout(i.op, k, given);
                if (!wanted.equals(given.get(k))) {
                    inputs.set(k, copy(inputs.get(k), wanted, i.node));
                }
            }
        }
        List<Layout> layouts = inputs.stream().map(Operand::layout).toList();
        List<Operand> outputs = new ArrayList<>();
        for (int value : i.outputs) {
            outputs.add(place(i, value, position, layouts));
        }
        if (i.op instanceof Scatter) { // adds to what the result holds, so x goes there first: zeros are written, not copied
            steps.add(copyStep(inputs.getFirst(), outputs.getFirst(), i.node));
            inputs.set(0, outputs.getFirst());
        }
        steps.add(new Step(i.op, i.prologue, i.epilogue, inputs, outputs, i.node));
    }

    /** The shape that a reduction runs over: its graph input's. */
    private dev.heddle.engine.Shape reducedShape(Instruction i) {
        return planner.graph().inputSpecs(i.node).getFirst().shape();
    }

    /** Decides where an output goes and how it lies. */
    private Operand place(Instruction i, int value, int position, List<Layout> inputs) {
        Spec spec = planner.spec(value);
        Planner.Target target = targets[value];
        Layout contiguous = Layout.contiguous(spec);
        boolean freely = i.op instanceof Elementwise; // writes any layout as well as any other
        Layout chosen = freely && (target != null || onlyReshaped[value]) ? contiguous : backend.outputLayout(i.op, spec, inputs);
        boolean direct = target != null && chosen.isContiguous() && (!target.state() || mayOverwrite(i, target.index(), position));
        storage[value] = direct ? destination(target, spec) : newStorage(Storage.Kind.ARENA, 0, spec.bytes());
        if (target != null && !direct) {
            lastSteps.add(copyStep(new Operand(storage[value], chosen), new Operand(destination(target, spec), contiguous), i.node));
        }
        layout[value] = chosen;
        if (i.op instanceof Reduce reduce) { // kernels see the reduced axes, with extent 1
            Spec kept = new Spec(spec.dtype(), reduce.keptShape(reducedShape(i)));
            return new Operand(storage[value], Layout.contiguous(kept));
        }
        return new Operand(storage[value], chosen);
    }

    private int destination(Planner.Target target, Spec spec) {
        return target.state() ? state(target.index(), spec) : newStorage(Storage.Kind.ROOT, target.index(), spec.bytes());
    }

    /**
     * Whether nobody reads a variable's old value after this instruction, nor this one out of step with its writes. Not a scatter: what it
     * adds to is there before it looks at its index, and a wrong one must leave the variable as it was.
     */
    private boolean mayOverwrite(Instruction i, int slot, int position) {
        if (i.op instanceof Scatter) {
            return false;
        }
        if (lastReader[slot] != position) {
            return lastReader[slot] < position;
        }
        if (!(i.op instanceof Elementwise)) {
            return false;
        }
        for (int value : i.inputs) {
            if (storage[value] == stateStorage[slot] && !(layout[value].isContiguous() && layout[value].offset() == 0
                    && layout[value].shape().equals(planner.spec(i.outputs[0]).shape()))) {
                return false;
            }
        }
        return true;
    }

    private void view(Instruction i) {
        int from = i.inputs[0];
        int to = i.outputs[0];
        Operand operand = new Operand(storage[from], layout[from]);
        Layout viewed = view((Movement) i.op, operand.layout());
        if (viewed == null) {
            operand = copy(operand, Layout.contiguous(planner.spec(from)), i.node);
            viewed = view((Movement) i.op, operand.layout());
        }
        storage[to] = operand.storage();
        layout[to] = viewed;
    }

    private static Layout view(Movement op, Layout in) {
        return switch (op) {
            case Movement.Reshape reshape -> in.reshape(reshape.shape());
            case Movement.Permute permute -> in.permute(permute.order().stream().mapToInt(a -> a).toArray());
            case Movement.Expand expand -> in.expand(expand.shape());
            case Movement.Slice slice -> in.slice(longs(slice.starts()), longs(slice.lengths()), longs(slice.steps()));
            case Movement.After after -> in;
            case Movement.Flip flip -> {
                Layout flipped = in;
                for (int axis : flip.axes()) {
                    flipped = flipped.flip(axis);
                }
                yield flipped;
            }
            case Movement.Pad pad -> throw new IllegalStateException("pad is no view");
            case Movement.Concat concat -> throw new IllegalStateException("concat is no view");
        };
    }

    private static long[] longs(List<Long> values) {
        return values.stream().mapToLong(v -> v).toArray();
    }

    /** An operand in another layout of the same spec. */
    private Operand copy(Operand from, Layout wanted, int node) {
        Operand key = new Operand(from.storage(), from.layout());
        Operand made = copies.get(key);
        if (made != null && made.layout().equals(wanted)) {
            return made;
        }
        Operand to = new Operand(newStorage(Storage.Kind.ARENA, 0, wanted.spec().bytes()), wanted);
        steps.add(copyStep(from, to, node));
        if (storages.get(from.storage()).kind() != Storage.Kind.STATE) { // a variable may be overwritten meanwhile
            copies.put(key, to);
        }
        return to;
    }

    private static Step copyStep(Operand from, Operand to, int node) {
        Op identity = Elementwise.of(new Expr.Input(0, from.layout().dtype()));
        return new Step(identity, null, Step.Epilogue.NONE, List.of(from), List.of(to), node);
    }
}
