// Planning a primitive takes up to milliseconds (code is generated), so what was planned is kept by its key.
package dev.heddle.engine.cpu;

import java.util.LinkedHashMap;
import java.util.Map;

/** A bounded cache, least recently used out first, that also remembers what cannot be planned. */
final class OneDnnPlans<K, P> {
    private static final int CAPACITY = 256;

    /** Makes a plan for a key. */
    interface Planner<K, P> {
        P plan(K key) throws UnsupportedByOneDnn;
    }

    /** A plan, or why there is none. */
    record Planned<P>(P plan, String unsupported) {
    }

    private final Planner<K, P> planner;
    private final Map<K, Planned<P>> plans = new LinkedHashMap<>(16, 0.75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<K, Planned<P>> eldest) {
            return size() > CAPACITY;
        }
    };

    OneDnnPlans(Planner<K, P> planner) {
        this.planner = planner;
    }

    /** What is known of {@code key}, planned now if nothing is. */
    synchronized Planned<P> get(K key) {
        return plans.computeIfAbsent(key, this::plan);
    }

    private Planned<P> plan(K key) {
        if (!OneDnn.available()) {
            return new Planned<>(null, "oneDNN is not available: " + OneDnn.unavailableReason());
        }
        try {
            return new Planned<>(planner.plan(key), null);
        } catch (UnsupportedByOneDnn e) {
            return new Planned<>(null, e.getMessage());
        }
    }
}
