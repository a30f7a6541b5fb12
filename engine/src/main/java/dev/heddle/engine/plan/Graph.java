// The recorded graph as plain data: what a plan is compiled from, and its key in the plan cache.
package dev.heddle.engine.plan;

import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import java.util.Arrays;
import java.util.List;

/**
 * A graph in topological order. Values are numbered through all outputs of all nodes: output {@code k} of node {@code i}
 * is value {@code firstValue(i) + k}. Equality is of structure: ops, edges, specs, roots and sets; what the sources hold
 * is not part of it.
 */
public final class Graph {
    private final Op[] ops;
    private final int[][] inputs; // value numbers, by node
    private final Spec[][] outputs; // by node
    private final int[] firstValue;
    private final int[] valueNode; // the node of each value
    private final int[] roots; // values wanted
    private final int[] variables; // of a STATE node its variable slot, else -1
    private final int[] setVariables; // slots to be overwritten ...
    private final int[] setValues; // ... with these values
    private final int hash;

    /**
     * @param inputs by node, the numbers of the values it takes
     * @param outputs by node, its specs
     * @param variables by node, the slot of the variable a {@code STATE} reads, -1 for other nodes
     * @param roots values to be computed
     * @param setVariables slots of variables to be overwritten, {@code setValues} with what
     */
    public Graph(Op[] ops, int[][] inputs, Spec[][] outputs, int[] variables, int[] roots, int[] setVariables, int[] setValues) {
        this.ops = ops;
        this.inputs = inputs;
        this.outputs = outputs;
        this.variables = variables;
        this.roots = roots;
        this.setVariables = setVariables;
        this.setValues = setValues;
        firstValue = new int[ops.length + 1];
        for (int i = 0; i < ops.length; i++) {
            firstValue[i + 1] = firstValue[i] + outputs[i].length;
        }
        valueNode = new int[firstValue[ops.length]];
        int h = 1;
        for (int i = 0; i < ops.length; i++) {
            Arrays.fill(valueNode, firstValue[i], firstValue[i + 1], i);
            h = 31 * h + (ops[i] instanceof Source source ? source.ordinal() : ops[i].hashCode());
            h = 31 * h + Arrays.hashCode(inputs[i]);
            h = 31 * h + outputs[i][0].shape().hashCode();
            h = 31 * h + outputs[i][0].dtype().ordinal();
        }
        hash = 31 * (31 * h + Arrays.hashCode(roots)) + Arrays.hashCode(setValues);
    }

    /** Number of nodes. */
    public int nodes() {
        return ops.length;
    }

    /** Number of values. */
    public int values() {
        return valueNode.length;
    }

    /** The op of a node. */
    public Op op(int node) {
        return ops[node];
    }

    /** The values a node takes; not to be written. */
    public int[] inputs(int node) {
        return inputs[node];
    }

    /** The specs of a node's outputs; not to be written. */
    public Spec[] outputs(int node) {
        return outputs[node];
    }

    /** The number of a node's first output. */
    public int firstValue(int node) {
        return firstValue[node];
    }

    /** The node a value is an output of. */
    public int nodeOf(int value) {
        return valueNode[value];
    }

    /** Dtype and shape of a value. */
    public Spec spec(int value) {
        int node = valueNode[value];
        return outputs[node][value - firstValue[node]];
    }

    /** The specs of a node's inputs. */
    public List<Spec> inputSpecs(int node) {
        return Arrays.stream(inputs[node]).mapToObj(this::spec).toList();
    }

    /** The values wanted; not to be written. */
    public int[] roots() {
        return roots;
    }

    /** Of a {@code STATE} node its variable slot, else -1. */
    public int variable(int node) {
        return variables[node];
    }

    /** Slots of the variables to be overwritten; not to be written. */
    public int[] setVariables() {
        return setVariables;
    }

    /** The values they are overwritten with, in the same order; not to be written. */
    public int[] setValues() {
        return setValues;
    }

    @Override
    public boolean equals(Object other) {
        if (this == other) {
            return true;
        }
        if (!(other instanceof Graph that) || hash != that.hash || ops.length != that.ops.length) {
            return false;
        }
        for (int i = 0; i < ops.length; i++) {
            if (ops[i] != that.ops[i] && !ops[i].equals(that.ops[i]) || !Arrays.equals(inputs[i], that.inputs[i])
                    || !Arrays.equals(outputs[i], that.outputs[i])) {
                return false;
            }
        }
        return Arrays.equals(variables, that.variables) && Arrays.equals(roots, that.roots)
                && Arrays.equals(setVariables, that.setVariables) && Arrays.equals(setValues, that.setValues);
    }

    @Override
    public int hashCode() {
        return hash;
    }

    /** One line a node, for example {@code %3 = matmul(%1, %2) f32(64, 10)}. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < ops.length; i++) {
            text.append('%').append(firstValue[i]).append(" = ").append(ops[i].name()).append('(');
            for (int k = 0; k < inputs[i].length; k++) {
                text.append(k == 0 ? "%" : ", %").append(inputs[i][k]);
            }
            text.append(") ").append(outputs[i].length == 1 ? outputs[i][0].toString() : Arrays.toString(outputs[i])).append('\n');
        }
        return text.toString();
    }
}
