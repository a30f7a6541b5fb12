// Places the intermediate values of a plan in one block of memory, by liveness.
package dev.heddle.engine.plan;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.plan.Step.Operand;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * Values whose lifetimes do not overlap share memory; an elementwise step writes over an input that dies with it. Larger
 * values are placed first, each at the lowest free offset: the greedy-by-size strategy of Pisarchyk and Lee, 2020.
 */
final class ArenaLayout {
    private static final int ALIGNMENT = 64;

    private final int[] first; // by storage: call of its first use
    private final int[] last; // of its last
    private final int[] merged; // the storage whose memory it shares
    final long[] sizes; // by storage, bytes
    final long[] offsets; // by storage, -1 outside the arena
    final long bytes;

    /** @param workspaces by call, bytes of scratch memory; the arena's storages {@code n + call} stand for them */
    ArenaLayout(List<Call> calls, List<Storage> storages, long[] workspaces) {
        int n = storages.size();
        int total = n + calls.size();
        first = new int[total];
        last = new int[total];
        merged = new int[total];
        Arrays.fill(first, Integer.MAX_VALUE);
        Arrays.fill(last, -1);
        Arrays.setAll(merged, i -> i);
        sizes = new long[total];
        for (int s = 0; s < n; s++) {
            sizes[s] = storages.get(s).kind() == Storage.Kind.ARENA ? storages.get(s).bytes() : 0;
        }
        for (int i = 0; i < calls.size(); i++) {
            for (Step step : calls.get(i).steps()) {
                for (Operand operand : step.inputs()) {
                    use(operand.storage(), i);
                }
                for (Operand operand : step.outputs()) {
                    use(operand.storage(), i);
                }
            }
            if (calls.get(i).rows() != null) {
                calls.get(i).rows().internal().forEach(s -> sizes[s] = 0);
            }
            if (workspaces[i] > 0) {
                sizes[n + i] = workspaces[i];
                use(n + i, i);
            }
        }
        for (int i = 0; i < calls.size(); i++) {
            List<Step> steps = calls.get(i).steps();
            if (steps.size() == 1 && steps.getFirst().op() instanceof Elementwise) {
                writeInPlace(steps.getFirst(), i, storages);
            }
        }
        offsets = new long[total];
        Arrays.fill(offsets, -1);
        bytes = place();
        for (int s = 0; s < total; s++) {
            offsets[s] = offsets[root(s)];
        }
    }

    private void use(int storage, int call) {
        first[storage] = Math.min(first[storage], call);
        last[storage] = Math.max(last[storage], call);
    }

    /** The storage whose memory a storage uses: its own, or that of an input that it overwrites. */
    int root(int storage) {
        int s = storage;
        while (merged[s] != s) {
            s = merged[s];
        }
        return s;
    }

    private void writeInPlace(Step step, int position, List<Storage> storages) {
        for (Operand output : step.outputs()) {
            int to = output.storage();
            if (storages.get(to).kind() != Storage.Kind.ARENA || merged[to] != to || first[to] != position) {
                continue;
            }
            for (Operand input : step.inputs()) {
                int from = root(input.storage());
                boolean alone = input.storage() < storages.size() && storages.get(input.storage()).kind() == Storage.Kind.ARENA
                        && last[from] == position && input.layout().equals(output.layout())
                        && storages.get(input.storage()).bytes() == storages.get(to).bytes()
                        && step.inputs().stream().allMatch(x -> x == input || root(x.storage()) != from
                                || x.layout().equals(input.layout()));
                if (alone) {
                    merged[to] = from;
                    last[from] = Math.max(last[from], last[to]);
                    break;
                }
            }
        }
    }

    private long place() {
        List<Integer> order = new ArrayList<>();
        for (int s = 0; s < sizes.length; s++) {
            if (sizes[s] > 0 && merged[s] == s && last[s] >= 0) {
                order.add(s);
            }
        }
        order.sort(Comparator.comparingLong((Integer s) -> sizes[s]).reversed().thenComparing(s -> first[s]));
        List<Integer> placed = new ArrayList<>(); // by offset
        long end = 0;
        for (int s : order) {
            long offset = 0;
            for (int other : placed) {
                if (first[other] <= last[s] && first[s] <= last[other]) {
                    if (offset + sizes[s] <= offsets[other]) {
                        break;
                    }
                    offset = Math.max(offset, align(offsets[other] + sizes[other]));
                }
            }
            offsets[s] = offset;
            int at = 0;
            while (at < placed.size() && offsets[placed.get(at)] <= offset) {
                at++;
            }
            placed.add(at, s);
            end = Math.max(end, offset + sizes[s]);
        }
        return end;
    }

    private static long align(long offset) {
        return (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}
