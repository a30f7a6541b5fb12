// Evaluates recorded graphs by the reference backend: slow, plain double arithmetic, the oracle of the tests.
package dev.heddle.engine;

import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Graph;
import dev.heddle.engine.plan.PlanCache;
import dev.heddle.engine.reference.Reference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The reference's view of tensors; does not evaluate or change them. For any number of threads. */
public final class ReferenceEvaluation {
    private ReferenceEvaluation() {}

    /**
     * The values of tensors, each computed in double precision (exactly, in {@code long}, for {@code I64}) from the same
     * recorded graph, fused ops decomposed.
     *
     * @return a {@code double[]}, or {@code long[]} for {@code I64}, of each tensor's elements, row-major
     */
    public static List<Object> evaluate(Tensor... tensors) {
        return evaluate(List.of(tensors), null, null);
    }

    /**
     * The same with other values for one leaf, a tensor made by {@code Tensor.of}: what finite differences need.
     *
     * @param leaf an evaluated tensor the graph was recorded from
     * @param values in its place, as {@code double[]} or {@code long[]}
     */
    public static List<Object> evaluate(List<Tensor> tensors, Tensor leaf, Object values) {
        Expanded expanded = Evaluation.exclusively(() -> expand(tensors, leaf, values));
        return Arrays.asList(Reference.run(expanded.graph, expanded.sources));
    }

    private record Expanded(Graph graph, Object[] sources) {}

    /** As building a graph numbers its nodes, which another thread's graph may share, this is not for two threads at once. */
    private static Expanded expand(List<Tensor> tensors, Tensor leaf, Object values) {
        GraphBuilder built = new GraphBuilder(tensors, List.of());
        PlanCache.Source expanded = Decomposition.expand(built, tensors.getFirst().device(), (op, inputs) -> false);
        Graph graph = expanded.graph();
        List<Object> sources = new ArrayList<>();
        for (int i = 0; i < graph.nodes(); i++) {
            if (!(graph.op(i) instanceof Source)) {
                continue;
            }
            for (int k = 0; k < graph.outputs(i).length; k++) {
                sources.add(source(tensors.getFirst().device(), built, expanded, graph.firstValue(i) + k, leaf, values));
            }
        }
        return new Expanded(graph, sources.toArray());
    }

    private static Object source(Device device, GraphBuilder built, PlanCache.Source expanded, int value, Tensor leaf, Object values) {
        int original = expanded.sourceValues()[value];
        if (original < 0) {
            Spec spec = expanded.graph().spec(value);
            return expanded.graph().op(expanded.graph().nodeOf(value)) == Source.SCALAR
                    ? HostData.decode(expanded.constants()[value], spec.dtype())
                    : HostData.onHost(Runtime.of(device).memory(), expanded.constants()[value], spec.bytes(),
                            address -> HostData.decode(spec, address));
        }
        int nodeIndex = built.graph().nodeOf(original);
        Node node = built.nodes().get(nodeIndex);
        int output = original - built.graph().firstValue(nodeIndex);
        if (leaf != null && node == leaf.node && output == leaf.output) {
            return values;
        }
        Spec spec = node.specs.get(output);
        return node.op == Source.SCALAR ? HostData.decode(GraphBuilder.scalarBits(node), spec.dtype())
                : HostData.onHost(new Tensor(node, output), address -> HostData.decode(spec, address));
    }
}
