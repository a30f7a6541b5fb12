// A vertex of the recorded graph: one application of an op.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

/** An op, its inputs and what came of them. Tensors are outputs of nodes. */
final class Node {
    static final Tensor[] NO_INPUTS = {};
    private static final AtomicLong RECORDED = new AtomicLong();

    final long id = RECORDED.getAndIncrement(); // grows in the order of recording
    final Op op;
    final List<Spec> specs; // one an output
    final boolean requiresGrad;
    Device device; // null of numbers, and of what is made of numbers alone: they go where they are needed
    Tensor[] inputs; // dropped once the values are known and no gradient can be asked for any more
    Buffer[] values; // null until evaluated; then one an output, entries null where nobody wanted the output
    long[] versions; // of the buffers when they held the values

    double scalar; // of a SCALAR
    long integer; // of an integer SCALAR
    Variable variable; // whose value this is: of a STATE, or of a set not yet settled
    boolean consumed; // by another recorded op
    boolean detached; // no gradient flows into the inputs
    boolean kept; // evaluated before any variable it needs is overwritten, consumed or not
    StackTraceElement origin; // the line of user code that recorded it, in checking modes
    int index; // number of the first output in the graph being built

    Node(Op op, Tensor[] inputs, List<Spec> specs, boolean requiresGrad) {
        this.op = op;
        this.inputs = inputs;
        this.specs = specs;
        this.requiresGrad = requiresGrad;
    }

    /** The largest {@link #id} there is. */
    static long lastId() {
        return RECORDED.get() - 1;
    }

    boolean isSource() {
        return op instanceof Source;
    }

    /** Whether all that anybody asked for has been computed: traversals stop here. */
    boolean evaluated(int output) {
        return values != null && values[output] != null;
    }

    /** Remembers the buffer of an output. */
    void evaluated(int output, Buffer buffer) {
        if (values == null) {
            values = new Buffer[specs.size()];
            versions = new long[specs.size()];
        }
        values[output] = buffer;
        versions[output] = buffer.version();
    }

    String describe(int output) {
        return op.name() + " " + specs.get(output) + (origin == null ? "" : " recorded at " + origin);
    }
}
