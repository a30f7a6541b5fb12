// Where values come from: the leaves of a graph. Their payload lives in the node, so that it is never part of a plan's key.
package dev.heddle.engine.op;

import java.util.List;

/** A leaf of the graph. */
public enum Source implements Op {
    /** One number held by the host that may change from step to step: an input of the plan. */
    SCALAR,
    /** A tensor whose value is in device memory. */
    DATA,
    /** The current value of a {@link dev.heddle.engine.Variable}. */
    STATE;

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        throw new IllegalStateException("a source has its spec given"); // leaves are created with their spec
    }
}
