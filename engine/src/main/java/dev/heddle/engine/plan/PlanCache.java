// The plans of a device, by the structure of the graphs they were compiled from, and the memory they share.
package dev.heddle.engine.plan;

import dev.heddle.engine.memory.Buffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** Least-recently-used cache; callers see to it that one thread uses it at a time. */
public final class PlanCache {
    /**
     * What is compiled: a graph in which only supported ops are left.
     *
     * @param origins by node, the node of the original graph that it is or is a part of
     * @param sourceValues by value, the value of the original graph whose binding it takes; -1 for constants
     * @param constants by value, address or bits where the decomposition made a constant
     * @param slots by variable slot, the slot of the original graph
     * @param owned the memory of the constants, alive as long as the plan
     */
    public record Source(Graph graph, int[] origins, int[] sourceValues, long[] constants, int[] slots, List<Buffer> owned) {}

    private record Key(Graph graph, boolean fusion) {}

    private final Map<Key, Plan> plans;
    private final Backend backend;
    private Buffer scratch;
    private long compiled;

    /** A cache of at most {@code bound} plans for a device. */
    public PlanCache(Backend backend, int bound) {
        this.backend = backend;
        plans = new LinkedHashMap<>(64, 0.75f, true) {
            private static final long serialVersionUID = 1L;

            @Override
            protected boolean removeEldestEntry(Map.Entry<Key, Plan> eldest) {
                return size() > bound;
            }
        };
    }

    /** The plan of a graph, compiled if there is none yet. */
    public Plan get(Graph graph, boolean fusion, Supplier<Source> source) {
        Key key = new Key(graph, fusion);
        Plan plan = plans.get(key);
        if (plan == null) {
            plan = new Planner(source.get(), fusion, this).plan();
            compiled++;
            plans.put(key, plan);
        }
        return plan;
    }

    Backend backend() {
        return backend;
    }

    /** Address of scratch memory, shared by all plans of the device: evaluations run one at a time. */
    long scratch(long bytes) {
        if (scratch == null || scratch.bytes() < bytes) {
            if (scratch != null) {
                scratch.close();
                scratch = null;
            }
            scratch = Buffer.allocate(backend.memory(), bytes, "plan arena").ofPlan();
        }
        return scratch.address();
    }

    /** Number of plans compiled so far. */
    public long compiled() {
        return compiled;
    }
}
