// The planner's working form of a node: mutable, so that passes can merge and fold.
package dev.heddle.engine.plan;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Op;

/** An op on numbered values. */
final class Instruction {
    Op op;
    Expr prologue; // of a Reduce: what is reduced, over the inputs; null is the input itself
    Step.Epilogue epilogue = Step.Epilogue.NONE;
    int[] inputs; // values
    final int[] outputs; // values
    final int node; // of the graph, for messages

    Instruction(Op op, int[] inputs, int[] outputs, int node) {
        this.op = op;
        this.inputs = inputs;
        this.outputs = outputs;
        this.node = node;
    }

    /** Copies a value. */
    static Instruction copy(Expr.Input identity, int from, int to, int node) {
        return new Instruction(Elementwise.of(identity), new int[] {from}, new int[] {to}, node);
    }

    boolean reads(int value) {
        for (int input : inputs) {
            if (input == value) {
                return true;
            }
        }
        return false;
    }
}
