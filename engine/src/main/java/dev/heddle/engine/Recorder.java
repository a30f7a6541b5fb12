// What one thread has recorded and not yet evaluated: the results nobody consumed, and the variables set.
package dev.heddle.engine;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Per-thread list of loose ends. Nodes recorded since the last evaluation are held strongly, so that what a step evaluates
 * does not depend on the garbage collector; older ones weakly.
 */
final class Recorder {
    /** Recorded nodes after which a thread that never evaluates is made to. */
    static final int BOUND = Integer.getInteger("heddle.recordBound", 200_000);

    private static final Logger LOG = LoggerFactory.getLogger(Recorder.class);
    private static final ThreadLocal<Recorder> CURRENT = ThreadLocal.withInitial(Recorder::new);
    private static volatile boolean warned;

    private final List<Node> fresh = new ArrayList<>();
    private final List<WeakReference<Node>> old = new ArrayList<>();
    private final List<WeakReference<Variable>> pending = new ArrayList<>();
    private int paused;
    private boolean compiling;

    static Recorder current() {
        return CURRENT.get();
    }

    /** Notes a recorded node; nodes recorded by backward passes and decompositions are nobody's results. */
    void add(Node node) {
        if (paused > 0) {
            return;
        }
        fresh.add(node);
        for (Tensor input : node.inputs) {
            input.node.consumed = true;
        }
        if (fresh.size() > BOUND) {
            if (!warned) {
                warned = true;
                LOG.warn("{} operations recorded without evaluating any: evaluating now. Read a result (item(), "
                        + "Tensor.eval) in each round of the loop.", BOUND);
            }
            Evaluation.evaluateLooseEnds();
        }
    }

    void pause() {
        paused++;
    }

    void resume() {
        paused--;
    }

    /** Whether a plan is being compiled: what is recorded then is part of the plan, not of the user's graph. */
    boolean compiling() {
        return compiling;
    }

    void compiling(boolean on) {
        compiling = on;
        paused += on ? 1 : -1;
    }

    void addPending(Variable variable) {
        pending.add(new WeakReference<>(variable));
    }

    /** Variables with a set that is not settled. */
    List<Variable> pending() {
        List<Variable> alive = new ArrayList<>(pending.size());
        for (WeakReference<Variable> reference : pending) {
            Variable variable = reference.get();
            if (variable != null && variable.pending()) {
                alive.add(variable);
            }
        }
        return alive;
    }

    /** Results that nobody has consumed or evaluated, and those to keep. */
    List<Tensor> looseEnds() {
        List<Tensor> ends = new ArrayList<>();
        for (Node node : fresh) {
            addEnd(node, ends);
        }
        for (WeakReference<Node> reference : old) {
            Node node = reference.get();
            if (node != null) {
                addEnd(node, ends);
            }
        }
        return ends;
    }

    private static void addEnd(Node node, List<Tensor> ends) {
        if (!node.consumed || node.kept) {
            for (int i = 0; i < node.specs.size(); i++) {
                if (!node.evaluated(i)) {
                    ends.add(new Tensor(node, i));
                }
            }
        }
    }

    /** After an evaluation: forgets what is settled, and holds what is left weakly. */
    void evaluated() {
        pending.removeIf(reference -> {
            Variable variable = reference.get();
            return variable == null || !variable.pending();
        });
        old.removeIf(reference -> {
            Node node = reference.get();
            return node == null || node.values != null || node.consumed && !node.kept;
        });
        for (Node node : fresh) {
            if ((!node.consumed || node.kept) && node.values == null) {
                old.add(new WeakReference<>(node));
            }
        }
        fresh.clear();
    }
}
