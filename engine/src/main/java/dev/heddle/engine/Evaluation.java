// From "somebody needs this value" to a plan that has run: what is evaluated together, and what is settled afterwards.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Plan;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;

/**
 * Evaluates recorded graphs; one evaluation runs at a time. An evaluation also settles the pending sets that share work
 * with it; and one that settles sets computes the unread results that need an old value or share work with them.
 */
final class Evaluation {
    /** Guards every field of nodes and variables that evaluation changes. */
    private static final ReentrantLock LOCK = new ReentrantLock();
    private static volatile Plan lastPlan;

    private Evaluation() {}

    static Plan lastPlan() {
        return lastPlan;
    }

    static long plansCompiled() {
        return Runtime.plansCompiled();
    }

    /** Evaluates tensors that are not evaluated yet. */
    static void evaluate(Collection<Tensor> tensors) {
        LOCK.lock();
        try {
            run(tensors, List.of());
        } finally {
            LOCK.unlock();
        }
    }

    /** Evaluates the pending sets of variables. */
    static void settle(Collection<Variable> variables) {
        LOCK.lock();
        try {
            run(List.of(), variables.stream().filter(Variable::pending).toList());
        } finally {
            LOCK.unlock();
        }
    }

    /** What something gives that is done while no other thread evaluates, launches or numbers the nodes of a graph. */
    static <T> T exclusively(Supplier<T> work) {
        LOCK.lock();
        try {
            return work.get();
        } finally {
            LOCK.unlock();
        }
    }

    /** Evaluates everything the calling thread has recorded and not consumed. */
    static void evaluateLooseEnds() {
        evaluate(Recorder.current().looseEnds());
    }

    /** Evaluates a node as soon as it is recorded. */
    static void evaluateEagerly(Node node) {
        List<Tensor> outputs = new ArrayList<>();
        for (int i = 0; i < node.specs.size(); i++) {
            outputs.add(new Tensor(node, i));
        }
        evaluate(outputs);
    }

    /** The buffer of a tensor, evaluated if it was not. */
    static Buffer read(Tensor x) {
        if (!x.node.evaluated(x.output)) {
            evaluate(List.of(x));
        }
        requireFresh(x);
        Buffer buffer = x.node.values[x.output];
        buffer.address(); // throws if closed
        return buffer;
    }

    /** A copy of a tensor's value in memory of its own. */
    static Tensor copy(Tensor x) {
        Recorder recorder = Recorder.current();
        recorder.pause();
        try {
            Tensor copy = Tensor.record(Elementwise.of(new Expr.Input(0, x.dtype())), List.of(x));
            evaluate(List.of(copy));
            return copy;
        } finally {
            recorder.resume();
        }
    }

    static void close(Tensor x) {
        LOCK.lock();
        try {
            if (!x.node.evaluated(x.output) || x.node.variable != null || x.node.values[x.output].closed()) {
                return;
            }
            Recorder recorder = Recorder.current();
            Traversal traversal = new Traversal();
            List<Tensor> ends = recorder.looseEnds();
            ends.removeIf(end -> !traversal.needs(end.node, node -> node == x.node));
            List<Variable> sets = recorder.pending();
            sets.removeIf(variable -> !traversal.needs(variable.value().node, node -> node == x.node));
            run(ends, sets);
            x.node.values[x.output].close();
        } finally {
            LOCK.unlock();
        }
    }

    private static void requireFresh(Tensor x) {
        if (x.node.values[x.output].version() != x.node.versions[x.output]) {
            throw new StaleTensorException(x.node.describe(x.output) + ": is the value of variable "
                    + (x.node.variable == null ? "" : x.node.variable.name())
                    + " before it was overwritten; read it before the step, or take value() again");
        }
    }

    /** Evaluates what is asked for, device by device. */
    private static void run(Collection<Tensor> tensors, Collection<Variable> settle) {
        Set<Device> devices = new LinkedHashSet<>();
        tensors.forEach(x -> devices.add(x.device()));
        settle.forEach(v -> devices.add(v.device()));
        for (Device device : devices) {
            run(device, devices.size() == 1 ? tensors : tensors.stream().filter(x -> x.device().equals(device)).toList(),
                    devices.size() == 1 ? settle : settle.stream().filter(v -> v.device().equals(device)).toList());
        }
    }

    private static void run(Device device, Collection<Tensor> tensors, Collection<Variable> settle) {
        Runtime runtime = Runtime.of(device);
        Set<Tensor> roots = new LinkedHashSet<>();
        for (Tensor x : tensors) {
            if (!x.node.evaluated(x.output)) {
                roots.add(x);
            }
        }
        Set<Variable> sets = new LinkedHashSet<>(settle);
        if (roots.isEmpty() && sets.isEmpty()) {
            return;
        }
        Recorder recorder = Recorder.current();
        Traversal traversal = new Traversal();
        roots.forEach(x -> traversal.visit(x.node));
        sets.forEach(v -> traversal.visit(v.value().node));
        addSetsThatShareWork(recorder, device, traversal, sets);
        if (!sets.isEmpty()) {
            Traversal dependence = new Traversal();
            for (Tensor end : recorder.looseEnds()) {
                if (end.device().equals(device) && dependence.needs(end.node,
                        node -> reads(node, sets) || traversal.visited(node) && !Traversal.isLeaf(node))) {
                    roots.add(end);
                    traversal.visit(end.node);
                }
            }
            addSetsThatShareWork(recorder, device, traversal, sets);
        }
        List<Tensor> wanted = new ArrayList<>(roots);
        GraphBuilder built = new GraphBuilder(wanted, List.copyOf(sets));
        Plan plan = runtime.plans().get(built.graph(), Debug.fusion() && !Debug.checkNaN(),
                () -> Decomposition.expand(built, device, runtime.backend()::supports));
        lastPlan = plan;

        List<Buffer> results = new ArrayList<>(wanted.size());
        long[] rootAddresses = new long[wanted.size()];
        for (int i = 0; i < rootAddresses.length; i++) {
            Spec spec = wanted.get(i).spec();
            results.add(Buffer.allocate(runtime.memory(), spec.bytes(), owner(wanted.get(i))));
            rootAddresses[i] = results.get(i).address();
        }
        plan.run(built.bindings(rootAddresses), Debug.checkNaN() ? built.nanCheck(runtime.memory()) : null, Debug.profile());
        Reference.reachabilityFence(built); // its leaves own the memory the plan has read

        Traversal dependence = new Traversal();
        for (int i = 0; i < rootAddresses.length; i++) {
            Node node = wanted.get(i).node;
            boolean differentiable = node.requiresGrad && (sets.isEmpty() || !dependence.needs(node, n -> reads(n, sets)));
            node.evaluated(wanted.get(i).output, results.get(i));
            node.device = device;
            if (!differentiable && !Debug.eager() && allEvaluated(node)) {
                node.inputs = null;
            }
        }
        for (Variable variable : sets) {
            Node pending = variable.value().node;
            variable.buffer().overwritten();
            pending.evaluated(0, variable.buffer());
            pending.inputs = null;
            variable.settled();
        }
        recorder.evaluated();
    }

    /** What messages about memory call a result; only what is cheap to keep. */
    private static Object owner(Tensor x) {
        return x.node.origin != null ? x.node.describe(x.output) : new Owner(x.node.op, x.spec());
    }

    private record Owner(Op op, Spec spec) {
        @Override
        public String toString() {
            return op.name() + " " + spec;
        }
    }

    private static boolean allEvaluated(Node node) {
        for (int i = 0; i < node.specs.size(); i++) {
            if (!node.evaluated(i)) {
                return false;
            }
        }
        return true;
    }

    private static boolean reads(Node node, Set<Variable> sets) {
        return node.op == Source.STATE && sets.contains(node.variable);
    }

    /** A pending set whose recipe contains an operation that runs anyway is settled along with it. */
    private static void addSetsThatShareWork(Recorder recorder, Device device, Traversal traversal, Set<Variable> sets) {
        boolean grown = true;
        while (grown) {
            grown = false;
            for (Variable variable : recorder.pending()) {
                if (!sets.contains(variable) && variable.device().equals(device)) {
                    Traversal sharing = new Traversal();
                    if (sharing.needs(variable.value().node, node -> traversal.visited(node) && !node.isSource())) {
                        sets.add(variable);
                        traversal.visit(variable.value().node);
                        grown = true;
                    }
                }
            }
        }
    }

    /** The innermost frame outside the library, for messages. */
    static StackTraceElement userCode() {
        return StackWalker.getInstance().walk(frames -> frames
                .filter(frame -> !frame.getClassName().startsWith("dev.heddle.engine.")
                        && !frame.getClassName().startsWith("dev.heddle.layers.")
                        && !frame.getClassName().startsWith("dev.heddle.training."))
                .findFirst().map(StackWalker.StackFrame::toStackTraceElement).orElse(null));
    }
}
