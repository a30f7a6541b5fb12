// Walks over recorded graphs, without recursion: graphs of recurrent models are deep.
package dev.heddle.engine;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** One walk: the nodes below those asked for, down to sources and evaluated nodes, each once, inputs first. */
final class Traversal {
    private final Map<Node, Boolean> results = new IdentityHashMap<>(); // null while a node is open
    private final List<Node> order = new ArrayList<>();

    /** Walks everything below a node. */
    void visit(Node node) {
        needs(node, n -> false);
    }

    /** Whether a node has been reached. */
    boolean visited(Node node) {
        return results.containsKey(node);
    }

    /** The nodes reached, inputs before what uses them. */
    List<Node> order() {
        return order;
    }

    /** Whether a predicate holds for the node or one below it; use one predicate a traversal. */
    boolean needs(Node root, Predicate<Node> predicate) {
        if (results.containsKey(root)) {
            return results.get(root);
        }
        List<Node> stack = new ArrayList<>();
        List<int[]> next = new ArrayList<>();
        push(root, stack, next);
        while (!stack.isEmpty()) {
            Node node = stack.getLast();
            Tensor[] inputs = isLeaf(node) ? Node.NO_INPUTS : node.inputs;
            int[] position = next.getLast();
            if (position[0] < inputs.length) {
                Node input = inputs[position[0]++].node;
                if (!results.containsKey(input)) {
                    push(input, stack, next);
                }
                continue;
            }
            boolean result = predicate.test(node);
            for (Tensor input : inputs) {
                result |= results.get(input.node);
            }
            results.put(node, result);
            order.add(node);
            stack.removeLast();
            next.removeLast();
        }
        return results.get(root);
    }

    private void push(Node node, List<Node> stack, List<int[]> next) {
        results.put(node, null);
        stack.add(node);
        next.add(new int[1]);
    }

    /** Whether the node's values are known, so that nothing below it is needed. */
    static boolean isLeaf(Node node) {
        if (node.isSource()) {
            return true;
        }
        if (node.values == null) {
            return false;
        }
        for (int i = 0; i < node.specs.size(); i++) {
            if (!node.evaluated(i)) {
                return false;
            }
        }
        return true;
    }
}
