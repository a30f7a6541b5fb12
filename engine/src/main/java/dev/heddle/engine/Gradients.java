// Reverse-mode differentiation. Gradients are recorded tensors like any other, so gradients of gradients work.
package dev.heddle.engine;

import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Random;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The gradients of a loss with respect to the variables it depends on: a value, not hidden state. Like all tensors they
 * are recipes until somebody evaluates them.
 */
public final class Gradients {
    private final Tensor loss;
    private final Map<Variable, Tensor> byVariable;

    private Gradients(Tensor loss, Map<Variable, Tensor> byVariable) {
        this.loss = loss;
        this.byVariable = byVariable;
    }

    /** See {@link Tensor#backward()}. */
    static Gradients of(Tensor loss) {
        requireScalar(loss);
        loss.keep();
        Map<Variable, Tensor> leaves = new LinkedHashMap<>();
        for (Node node : order(List.of(loss), Set.of())) {
            if (node.variable != null && node.requiresGrad) {
                leaves.put(node.variable, new Tensor(node, 0));
            }
        }
        List<Tensor> gradients = vjp(List.of(loss), List.of(Tensor.scalar(1, loss.dtype())), new ArrayList<>(leaves.values()));
        Map<Variable, Tensor> byVariable = new LinkedHashMap<>();
        int i = 0;
        for (Variable variable : leaves.keySet()) {
            byVariable.put(variable, gradients.get(i++));
        }
        return new Gradients(loss, byVariable);
    }

    /**
     * The gradients of a scalar with respect to any tensors, variables' values or not; zeros where it does not depend on
     * one. The tensors must be part of the recorded graph of {@code y}.
     *
     * @throws ShapeException if {@code y} is no float scalar
     */
    public static List<Tensor> of(Tensor y, Tensor... wrt) {
        requireScalar(y);
        return vjp(List.of(y), List.of(Tensor.scalar(1, y.dtype())), List.of(wrt)).stream().toList();
    }

    /**
     * Gradients that were computed otherwise, such as sums over several losses.
     *
     * @param loss the scalar that they belong to
     * @param byVariable of the shape of their variables
     * @throws ShapeException if one is of another shape
     */
    public static Gradients of(Tensor loss, Map<Variable, Tensor> byVariable) {
        byVariable.forEach((variable, gradient) -> {
            if (!gradient.shape().equals(variable.shape()) || !gradient.dtype().isFloat()) {
                throw new ShapeException("gradients: " + gradient.spec() + " for variable " + variable);
            }
        });
        return new Gradients(loss, new LinkedHashMap<>(byVariable));
    }

    private static void requireScalar(Tensor y) {
        if (y.elements() != 1 || !y.dtype().isFloat()) {
            throw new ShapeException("backward: needs a float scalar, got " + y.spec() + "; reduce it with mean() or sum()");
        }
    }

    /** The scalar that was differentiated. */
    public Tensor loss() {
        return loss;
    }

    /** The variables the loss depends on. */
    public Set<Variable> variables() {
        return Collections.unmodifiableSet(byVariable.keySet());
    }

    /** The gradient for a variable, of its shape; zeros if the loss does not depend on it. */
    public Tensor get(Variable variable) {
        Tensor gradient = byVariable.get(variable);
        return gradient != null ? gradient : Tensor.scalar(0, variable.dtype()).expand(variable.shape().dims());
    }

    /** These gradients with each replaced by a function of it, for clipping, scaling and the like. */
    public Gradients map(java.util.function.UnaryOperator<Tensor> function) {
        Map<Variable, Tensor> mapped = new LinkedHashMap<>();
        byVariable.forEach((variable, gradient) -> mapped.put(variable, function.apply(gradient)));
        return new Gradients(loss, mapped);
    }

    /**
     * The default gradient of a fused op: its decomposition's.
     *
     * @param gradients for each output, null where none flows
     * @return for each input, null where none flows
     */
    public static List<Tensor> throughDecomposition(Fused op, List<Tensor> inputs, List<Tensor> gradients) {
        List<Tensor> places = new ArrayList<>(); // the inputs, told apart where one tensor is given twice
        Set<Node> leaves = Collections.newSetFromMap(new IdentityHashMap<>()); // what lies below them is the caller's business
        for (Tensor input : inputs) {
            Tensor place = places.contains(input) ? Tensor.record(new Movement.Reshape(input.shape()), List.of(input)) : input;
            places.add(place);
            leaves.add(place.node);
        }
        List<Tensor> outputs = new ArrayList<>();
        List<Tensor> seeds = new ArrayList<>();
        List<Tensor> all = op.decompose(places);
        for (int i = 0; i < all.size(); i++) {
            if (gradients.get(i) != null) {
                outputs.add(all.get(i));
                seeds.add(gradients.get(i));
            }
        }
        return propagate(outputs, seeds, places, leaves);
    }

    /** The gradients for some tensors of what was computed from them: nothing below them counts. Null where none flows. */
    static List<Tensor> through(Tensor y, Tensor dy, List<Tensor> places) {
        Set<Node> leaves = Collections.newSetFromMap(new IdentityHashMap<>());
        places.forEach(place -> leaves.add(place.node));
        return propagate(List.of(y), List.of(dy), places, leaves);
    }

    private static List<Tensor> vjp(List<Tensor> outputs, List<Tensor> seeds, List<Tensor> wrt) {
        Recorder recorder = Recorder.current();
        recorder.pause();
        try {
            List<Tensor> gradients = propagate(outputs, seeds, wrt, Set.of());
            for (int i = 0; i < gradients.size(); i++) {
                Tensor x = wrt.get(i);
                if (gradients.get(i) == null) {
                    requireRecipes(outputs, x);
                    gradients.set(i, Tensor.scalar(0, x.dtype()).expand(x.shape().dims()));
                }
            }
            return gradients;
        } finally {
            recorder.resume();
        }
    }

    /** A tensor that was evaluated forgets how, unless it depends on trainable variables; zeros would be a lie then. */
    private static void requireRecipes(List<Tensor> outputs, Tensor x) {
        List<Node> order = order(outputs, Set.of());
        for (Node node : order) {
            if (node.inputs == null && !(node.op instanceof Random) && !order.contains(x.node)) {
                throw new IllegalStateException("gradient: " + node.describe(0) + " was evaluated before and its recipe is gone, so that its"
                        + " dependence on " + x.spec() + " is not known; record the gradient before reading the tensor, or make it depend on a"
                        + " trainable Variable");
            }
        }
    }

    /** Vector-Jacobian product: null where no gradient flows. Nothing flows through the leaves. */
    private static List<Tensor> propagate(List<Tensor> outputs, List<Tensor> seeds, List<Tensor> wrt, Set<Node> leaves) {
        Map<Node, Tensor[]> adjoints = new IdentityHashMap<>();
        for (int i = 0; i < outputs.size(); i++) {
            accumulate(adjoints, outputs.get(i), seeds.get(i));
        }
        Set<Node> targets = Collections.newSetFromMap(new IdentityHashMap<>());
        wrt.forEach(x -> targets.add(x.node));
        List<Node> order = order(outputs, leaves);
        Set<Node> reaching = Collections.newSetFromMap(new IdentityHashMap<>()); // nodes a target flows into
        for (Node node : order) {
            boolean reaches = targets.contains(node);
            for (Tensor input : edges(node, leaves)) {
                reaches |= reaching.contains(input.node);
            }
            if (reaches) {
                reaching.add(node);
            }
        }
        for (int i = order.size() - 1; i >= 0; i--) {
            Node node = order.get(i);
            Tensor[] gradient = adjoints.get(node);
            Tensor[] inputs = edges(node, leaves);
            if (gradient == null || !reaching.contains(node) || inputs.length == 0) {
                continue;
            }
            boolean[] wanted = new boolean[inputs.length];
            boolean any = false;
            for (int k = 0; k < inputs.length; k++) {
                wanted[k] = reaching.contains(inputs[k].node) && inputs[k].dtype().isFloat();
                any |= wanted[k];
            }
            if (!any) {
                continue;
            }
            List<Tensor> results = new ArrayList<>(node.specs.size());
            for (int k = 0; k < node.specs.size(); k++) {
                results.add(new Tensor(node, k));
            }
            List<Tensor> flows = GradientRules.of(node.op, Arrays.asList(inputs), results, Arrays.asList(gradient), wanted);
            for (int k = 0; k < inputs.length; k++) {
                if (wanted[k] && flows.get(k) != null) {
                    accumulate(adjoints, inputs[k], flows.get(k));
                }
            }
        }
        List<Tensor> gradients = new ArrayList<>();
        for (Tensor x : wrt) {
            Tensor[] gradient = adjoints.get(x.node);
            gradients.add(gradient == null ? null : gradient[x.output]);
        }
        return gradients;
    }

    private static void accumulate(Map<Node, Tensor[]> adjoints, Tensor x, Tensor gradient) {
        Tensor[] sums = adjoints.computeIfAbsent(x.node, node -> new Tensor[node.specs.size()]);
        sums[x.output] = sums[x.output] == null ? gradient : sums[x.output].add(gradient);
    }

    /** The inputs through which gradients may flow. */
    private static Tensor[] edges(Node node, Set<Node> leaves) {
        return node.inputs == null || node.detached || leaves.contains(node) ? Node.NO_INPUTS : node.inputs;
    }

    /** The nodes between some outputs and the leaves, inputs first. */
    private static List<Node> order(List<Tensor> outputs, Set<Node> leaves) {
        List<Node> order = new ArrayList<>();
        Map<Node, int[]> progress = new IdentityHashMap<>(); // next input to look at
        List<Node> stack = new ArrayList<>();
        for (Tensor output : outputs) {
            if (progress.putIfAbsent(output.node, new int[1]) == null) {
                stack.add(output.node);
            }
            while (!stack.isEmpty()) {
                Node node = stack.getLast();
                int[] next = progress.get(node);
                Tensor[] inputs = edges(node, leaves);
                if (next[0] == inputs.length) {
                    order.add(stack.removeLast());
                    continue;
                }
                Node input = inputs[next[0]++].node;
                if (progress.putIfAbsent(input, new int[1]) == null) {
                    stack.add(input);
                }
            }
        }
        return order;
    }
}
