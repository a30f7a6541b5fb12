// Replaces the fused ops that a backend has no kernel for by what they mean.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Graph;
import dev.heddle.engine.plan.PlanCache;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiPredicate;

/** Works on recorded nodes, so that a decomposition is written with the ordinary methods of {@link Tensor}. */
final class Decomposition {
    private Decomposition() {}

    /** The graph with unsupported fused ops decomposed, and where its sources come from. */
    static PlanCache.Source expand(GraphBuilder built, Device device, BiPredicate<Fused, List<Spec>> supported) {
        Graph graph = built.graph();
        Map<Node, Integer> originalValue = new IdentityHashMap<>();
        Tensor[] replaced = new Tensor[graph.values()]; // by value of the original graph
        Map<Node, Integer> place = new IdentityHashMap<>();
        for (int i = 0; i < graph.nodes(); i++) {
            place.put(built.nodes().get(i), i);
        }
        TreeMap<Long, Integer> originOfNew = new TreeMap<>(); // by the last id of what a node was replaced by
        Recorder recorder = Recorder.current();
        recorder.compiling(true);
        Device outer = Device.enter(device); // constants are made there
        try {
            for (Node node : GraphBuilder.asRecorded(built.nodes())) {
                int i = place.get(node);
                int first = graph.firstValue(i);
                if (graph.op(i) instanceof Source) {
                    originalValue.put(node, first);
                    for (int k = 0; k < node.specs.size(); k++) {
                        replaced[first + k] = new Tensor(node, k);
                    }
                    continue;
                }
                List<Tensor> inputs = new ArrayList<>();
                boolean same = true;
                for (int k = 0; k < graph.inputs(i).length; k++) {
                    Tensor input = replaced[graph.inputs(i)[k]];
                    same &= input.node == node.inputs[k].node && input.output == node.inputs[k].output;
                    inputs.add(input);
                }
                List<Tensor> outputs = replacement(node, inputs, same, supported);
                originOfNew.put(Node.lastId(), i);
                for (int k = 0; k < outputs.size(); k++) {
                    replaced[first + k] = outputs.get(k);
                }
            }
        } finally {
            Device.leave(outer);
            recorder.compiling(false);
        }
        List<Tensor> roots = new ArrayList<>();
        for (int root : graph.roots()) {
            roots.add(replaced[root]);
        }
        List<Variable> sets = new ArrayList<>();
        List<Tensor> setValues = new ArrayList<>();
        for (int i = 0; i < graph.setVariables().length; i++) {
            sets.add(built.variables().get(graph.setVariables()[i]));
            setValues.add(replaced[graph.setValues()[i]]);
        }
        GraphBuilder expanded = new GraphBuilder(roots, sets, setValues, true);
        Graph result = expanded.graph();
        int[] sourceValue = new int[result.values()]; // in the original graph, -1 where the decomposition made a constant
        long[] constants = new long[result.values()];
        List<Buffer> owned = new ArrayList<>();
        int[] origin = new int[result.nodes()];
        for (int i = 0; i < result.nodes(); i++) {
            Node node = expanded.nodes().get(i);
            origin[i] = place.containsKey(node) ? place.get(node) : originOfNew.ceilingEntry(node.id).getValue();
            Integer original = originalValue.get(node);
            for (int k = 0; k < node.specs.size(); k++) {
                int value = result.firstValue(i) + k;
                sourceValue[value] = original == null ? -1 : original + k;
                if (original == null && result.op(i) == Source.SCALAR) {
                    constants[value] = GraphBuilder.scalarBits(node);
                } else if (original == null && result.op(i) instanceof Source) {
                    constants[value] = node.values[k].address();
                    owned.add(node.values[k].ofPlan());
                }
            }
        }
        int[] slots = new int[expanded.variables().size()];
        for (int i = 0; i < slots.length; i++) {
            slots[i] = built.variables().indexOf(expanded.variables().get(i));
        }
        return new PlanCache.Source(result, origin, sourceValue, constants, slots, owned);
    }

    private static List<Tensor> replacement(Node node, List<Tensor> inputs, boolean same, BiPredicate<Fused, List<Spec>> supported) {
        if (node.op instanceof Fused fused && !supported.test(fused, inputs.stream().map(Tensor::spec).toList())) {
            return expand(fused.decompose(inputs), inputs, supported);
        }
        if (same) {
            List<Tensor> outputs = new ArrayList<>();
            for (int k = 0; k < node.specs.size(); k++) {
                outputs.add(new Tensor(node, k));
            }
            return outputs;
        }
        return copy(node.op, inputs, node);
    }

    private static List<Tensor> copy(Op op, List<Tensor> inputs, Node node) {
        List<Tensor> copies = Tensor.recordAll(op, inputs);
        copies.getFirst().node.origin = node.origin;
        return copies;
    }

    /** Expands the fused ops inside a decomposition, which may contain others. */
    private static List<Tensor> expand(List<Tensor> outputs, List<Tensor> inputs, BiPredicate<Fused, List<Spec>> supported) {
        Map<Node, List<Tensor>> replaced = new IdentityHashMap<>();
        for (Tensor input : inputs) {
            keep(input.node, replaced);
        }
        Traversal traversal = new Traversal();
        outputs.forEach(x -> traversal.visit(x.node));
        for (Node node : traversal.order()) {
            if (replaced.containsKey(node) || Traversal.isLeaf(node)) {
                keep(node, replaced);
                continue;
            }
            List<Tensor> mapped = new ArrayList<>();
            boolean same = true;
            for (Tensor input : node.inputs) {
                Tensor image = replaced.get(input.node).get(input.output);
                same &= image.node == input.node;
                mapped.add(image);
            }
            replaced.put(node, replacement(node, mapped, same, supported));
        }
        return outputs.stream().map(x -> replaced.get(x.node).get(x.output)).toList();
    }

    private static void keep(Node node, Map<Node, List<Tensor>> replaced) {
        List<Tensor> outputs = new ArrayList<>();
        for (int k = 0; k < node.specs.size(); k++) {
            outputs.add(new Tensor(node, k));
        }
        replaced.put(node, outputs);
    }
}
