// Trades time for memory: intermediate results are not kept for the gradient but computed again from the input.
package dev.heddle.engine;

import dev.heddle.engine.fused.Dropout;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * {@code (y, x, others...) -> y}: the identity, behind a function {@code y} of {@code x} and others. Its gradient records what lies
 * between them a second time, from copies of the inputs that are said to exist only after the gradient of {@code y}
 * ({@link Movement.After}), so that a planner neither merges the two nor runs the second early; then it differentiates that. What is
 * recorded twice includes random numbers, which are the same ones, and no sets of variables.
 */
record Recomputation() implements Fused {
    /** See {@link Functional#recompute}. */
    static Tensor of(UnaryOperator<Tensor> function, Tensor x) {
        long before = Node.lastId();
        Tensor y = function.apply(x);
        if (y.node.id <= before) {
            return y;
        }
        Set<Tensor> inputs = new LinkedHashSet<>(List.of(y, x));
        for (Node node : between(y, Set.of(x.node), before)) {
            for (Tensor input : node.inputs) {
                boolean outside = input.node.id <= before || input.node.variable != null;
                if (outside && input.dtype().isFloat() && input.node.op != Source.SCALAR) {
                    inputs.add(input);
                }
            }
        }
        return Tensor.record(new Recomputation(), List.copyOf(inputs));
    }

    /** The nodes that a tensor was made by, in the order of recording: behind the ends, and those recorded later than a time. */
    private static List<Node> between(Tensor y, Set<Node> ends, long after) {
        List<Node> found = new ArrayList<>();
        Set<Node> seen = new LinkedHashSet<>(ends);
        List<Node> stack = new ArrayList<>(List.of(y.node));
        while (!stack.isEmpty()) {
            Node node = stack.removeLast();
            if (node.id > after && node.inputs != null && !node.isSource() && node.variable == null && seen.add(node)) {
                found.add(node);
                Arrays.stream(node.inputs).map(input -> input.node).forEach(stack::add);
            }
        }
        found.sort(Comparator.comparingLong(node -> node.id));
        return found;
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        return List.of(inputs.getFirst());
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        return List.of(inputs.getFirst());
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        Tensor y = inputs.getFirst();
        Tensor dy = gradients.getFirst();
        Map<Tensor, Tensor> images = new HashMap<>();
        Set<Node> ends = new LinkedHashSet<>();
        List<Tensor> places = new ArrayList<>();
        for (Tensor input : inputs.subList(1, inputs.size())) {
            Tensor place = input.node.isSource() && places.size() > 0 ? input : after(input, dy); // parameters and data stay where they are
            images.put(input, place);
            ends.add(input.node);
            places.add(place);
        }
        for (Node node : between(y, ends, Long.MIN_VALUE)) {
            int seed = node.op instanceof Random ? 0 : node.op instanceof Dropout ? 1 : -1; // place among the inputs
            boolean again = seed >= 0;
            List<Tensor> operands = new ArrayList<>();
            for (Tensor input : node.inputs) {
                Tensor image = images.getOrDefault(input, input);
                again |= !image.equals(input);
                operands.add(image);
            }
            if (again) {
                if (seed >= 0) {
                    operands.set(seed, after(operands.get(seed), dy));
                }
                List<Tensor> copies = Tensor.recordAll(node.op, operands, node.detached, false);
                for (int k = 0; k < copies.size(); k++) {
                    images.put(new Tensor(node, k), copies.get(k));
                }
            }
        }
        List<Tensor> flows = new ArrayList<>();
        flows.add(null); // nothing through the first computation
        flows.addAll(Gradients.through(images.getOrDefault(y, y), dy, places));
        return flows;
    }

    private static Tensor after(Tensor x, Tensor condition) {
        return Tensor.record(new Movement.After(), List.of(x, condition));
    }

    @Override
    public String name() {
        return "recompute";
    }
}
