// Turns recorded nodes into a Graph, the planner's input, and remembers which node each source of it came from.
package dev.heddle.engine;

import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.memory.Float16;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Bindings;
import dev.heddle.engine.plan.Graph;
import dev.heddle.engine.plan.Plan;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The graph of some results and sets. */
final class GraphBuilder {
    private final List<Tensor> roots;
    private final List<Variable> variables = new ArrayList<>(); // by slot
    private final Map<Variable, Integer> slots = new HashMap<>();
    private final List<Node> nodes;
    private final Graph graph;

    /**
     * @param roots results wanted, none evaluated
     * @param sets variables whose pending values are to be computed in place
     * @throws StaleTensorException if a node needs a variable's value that is gone
     */
    GraphBuilder(List<Tensor> roots, List<Variable> sets) {
        this(roots, sets, sets.stream().map(Variable::value).toList(), false);
    }

    /** The same with other nodes standing in for the recorded ones, after decomposition; in the order of recording if asked for. */
    GraphBuilder(List<Tensor> roots, List<Variable> sets, List<Tensor> setValues, boolean asRecorded) {
        this.roots = roots;
        Traversal traversal = new Traversal();
        roots.forEach(x -> traversal.visit(x.node));
        setValues.forEach(x -> traversal.visit(x.node));
        nodes = asRecorded ? asRecorded(traversal.order()) : traversal.order();
        int n = nodes.size();
        Op[] ops = new Op[n];
        int[][] inputs = new int[n][];
        Spec[][] outputs = new Spec[n][];
        int[] read = new int[n];
        int value = 0;
        for (int i = 0; i < n; i++) {
            Node node = nodes.get(i);
            node.index = value;
            boolean leaf = Traversal.isLeaf(node);
            boolean state = leaf && node.variable != null && node.values[0] == node.variable.buffer(); // else it has moved away
            ops[i] = !leaf ? node.op : state ? Source.STATE : node.op == Source.SCALAR ? Source.SCALAR : Source.DATA;
            read[i] = state ? slot(node.variable) : -1;
            outputs[i] = node.specs.toArray(new Spec[0]);
            inputs[i] = new int[leaf ? 0 : node.inputs.length];
            for (int k = 0; k < inputs[i].length; k++) {
                inputs[i][k] = node.inputs[k].node.index + node.inputs[k].output;
            }
            if (state && node.versions[0] != node.variable.buffer().version()) {
                throw new StaleTensorException((roots.isEmpty() ? "set" : roots.getFirst().node.describe(0))
                        + ": its recipe needs the value of variable '" + node.variable.name()
                        + "' that has been overwritten since it was recorded; evaluate it, or call keep() on it, before the step,"
                        + " or record it again");
            }
            value += outputs[i].length;
        }
        int[] setVariables = new int[sets.size()];
        int[] setValueNumbers = new int[sets.size()];
        for (int i = 0; i < setVariables.length; i++) {
            setVariables[i] = slot(sets.get(i));
            setValueNumbers[i] = number(setValues.get(i));
        }
        graph = new Graph(ops, inputs, outputs, read, roots.stream().mapToInt(GraphBuilder::number).toArray(),
                setVariables, setValueNumbers);
    }

    /**
     * Leaves, then the rest as it was recorded: people record what they need next, and the gradient of an op is recorded as soon as its
     * own gradient is known, so that values live short. The order of a traversal would put off all gradients of weights to the end.
     */
    static List<Node> asRecorded(List<Node> nodes) {
        List<Node> order = new ArrayList<>(nodes.size());
        nodes.stream().filter(Traversal::isLeaf).forEach(order::add);
        nodes.stream().filter(node -> !Traversal.isLeaf(node)).sorted(Comparator.comparingLong(node -> node.id)).forEach(order::add);
        return order;
    }

    private static int number(Tensor x) {
        return x.node.index + x.output;
    }

    private int slot(Variable variable) {
        return slots.computeIfAbsent(variable, v -> {
            variables.add(v);
            return variables.size() - 1;
        });
    }

    Graph graph() {
        return graph;
    }

    List<Tensor> roots() {
        return roots;
    }

    List<Variable> variables() {
        return variables;
    }

    /** The recorded nodes, in the graph's order. */
    List<Node> nodes() {
        return nodes;
    }

    /** What this evaluation's sources hold. */
    Bindings bindings(long[] rootAddresses) {
        long[] sources = new long[graph.values()];
        for (int i = 0; i < nodes.size(); i++) {
            Node node = nodes.get(i);
            if (!(graph.op(i) instanceof Source source)) {
                continue;
            }
            for (int k = 0; k < node.specs.size(); k++) {
                int value = graph.firstValue(i) + k;
                boolean gone = source != Source.SCALAR && node.specs.size() > 1 && node.values[k].closed() && !isNeeded(value); // closed by itself
                sources[value] = gone ? 0 : source == Source.SCALAR ? scalarBits(node) : node.values[k].address();
            }
        }
        long[] states = new long[variables.size()];
        for (int i = 0; i < states.length; i++) {
            states[i] = variables.get(i).buffer().address();
        }
        return new Bindings(sources, states, rootAddresses);
    }

    private boolean isNeeded(int value) {
        return roots.stream().anyMatch(x -> number(x) == value)
                || nodes.stream().anyMatch(node -> !Traversal.isLeaf(node) && Arrays.stream(node.inputs).anyMatch(x -> number(x) == value));
    }

    /** The bytes of a scalar as its dtype lies in memory, in the low bits. */
    static long scalarBits(Node node) {
        return switch (node.specs.getFirst().dtype()) {
            case F64 -> Double.doubleToRawLongBits(node.scalar);
            case F32 -> Float.floatToRawIntBits((float) node.scalar);
            case BF16 -> Float16.toBfloat16((float) node.scalar);
            case F16 -> Float.floatToFloat16((float) node.scalar);
            case I64, I32, U8 -> node.integer;
            case BOOL -> node.scalar != 0 ? 1 : 0;
        };
    }

    /** Looks for NaN and infinity behind every step of an unfused plan. */
    Plan.Check nanCheck(DeviceMemory memory) {
        return (node, spec, address) -> {
            long element = spec.dtype().isFloat() ? HostData.onHost(memory, address, spec.bytes(), host -> firstNonFinite(spec, host)) : -1L;
            if (element >= 0) {
                throw new NonFiniteException(nodes.get(node).describe(0) + " made "
                        + HostData.onHost(memory, address, spec.bytes(), host -> element(spec.dtype(), host, element))
                        + " at element " + element);
            }
        };
    }

    private static long firstNonFinite(Spec spec, long address) {
        for (long i = 0; i < spec.shape().elements(); i++) {
            if (!Double.isFinite(element(spec.dtype(), address, i))) {
                return i;
            }
        }
        return -1;
    }

    private static double element(DType dtype, long address, long i) {
        return switch (dtype) {
            case F64 -> Memory.getDouble(address + 8 * i);
            case F32 -> Memory.getFloat(address + 4 * i);
            case BF16 -> Float16.bfloat16(Memory.getShort(address + 2 * i));
            default -> Float.float16ToFloat(Memory.getShort(address + 2 * i));
        };
    }
}
