// Groups the steps of a plan into calls: fewer trips to the device, and values that stay in the cache between steps.
package dev.heddle.engine.plan;

import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.plan.Step.Operand;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Collectors;

/** Looks at neighbouring steps only. Their order stays, but that small ones among steps that go row by row, and need none of them, come first. */
final class Calls {
    /** A row has to fit into a core's cache a few times over, and there must be enough rows to go round. */
    private static final long LONGEST_ROW = 64 << 10; // elements
    private static final long FEWEST_ROWS = 16;
    private static final long SHORTEST_SINGLE_ROW = 1024;
    private static final int MOST_MOVED = 8; // steps, in front of a group
    private static final int SMALL = 16; // a step that may be moved has at most this part of the elements that the group's first has

    private final List<Step> steps;
    private final List<Storage> storages;
    private final Backend backend;
    private int moved; // steps in front of the group that was found last

    private Calls(List<Step> steps, List<Storage> storages, Backend backend) {
        this.steps = new ArrayList<>(steps);
        this.storages = storages;
        this.backend = backend;
    }

    /** The calls of a plan; one a step if {@code group} is false. */
    static List<Call> of(List<Step> steps, List<Storage> storages, Backend backend, boolean group) {
        return group ? new Calls(steps, storages, backend).group() : steps.stream().map(Call::of).toList();
    }

    private List<Call> group() {
        List<Call> calls = new ArrayList<>();
        for (int i = 0; i < steps.size(); i += calls.getLast().steps().size()) {
            int updates = endOfUpdates(i);
            moved = 0;
            Call rows = updates == i + 1 ? rowsFrom(i) : null;
            for (int k = 0; k < moved; k++) {
                calls.add(Call.of(steps.get(i++)));
            }
            calls.add(rows != null ? rows : new Call(List.copyOf(steps.subList(i, Math.max(updates, i + 1))), null));
        }
        return calls;
    }

    // ---- equal updates of variables, such as an optimizer's

    /** The end of a run of equal updates, none of which reads what another writes. */
    private int endOfUpdates(int from) {
        Set<Integer> read = new HashSet<>();
        Set<Integer> written = new HashSet<>();
        int next = from;
        do {
            Step step = steps.get(next++);
            step.inputs().forEach(x -> read.add(x.storage()));
            step.outputs().forEach(x -> written.add(x.storage()));
        } while (next < steps.size() && isUpdate(steps.get(from)) && isUpdate(steps.get(next))
                && steps.get(from).op().equals(steps.get(next).op())
                && steps.get(next).inputs().stream().noneMatch(x -> written.contains(x.storage()))
                && steps.get(next).outputs().stream().noneMatch(x -> read.contains(x.storage())));
        return next;
    }

    private boolean isUpdate(Step step) {
        return step.op() instanceof Elementwise
                && step.outputs().stream().allMatch(o -> storages.get(o.storage()).kind() == Storage.Kind.STATE);
    }

    // ---- steps that go row by row

    /** The longest group from a step on that divides into rows, of the finest division; null if it is the step alone. */
    private Call rowsFrom(int start) {
        Step first = steps.get(start);
        List<Long> counts = counts(first); // descending
        Map<Long, Map<Integer, Long>> written = new HashMap<>(); // by count: storage -> distance of the rows written
        counts = counts.stream().filter(count -> join(first, count, written.computeIfAbsent(count, none -> new HashMap<>()))).toList();
        int to = start + (counts.isEmpty() ? 0 : 1);
        while (!counts.isEmpty() && to < steps.size()) {
            Step next = steps.get(to);
            List<Long> left = counts.stream().filter(count -> counts(next).contains(count) && join(next, count, written.get(count))).toList();
            if (left.isEmpty() && !moveToFront(start, to)) {
                break;
            }
            counts = left.isEmpty() ? counts : left;
            to++;
        }
        int rowsEnd = to;
        for (long count : counts.isEmpty() ? reducedRows(first) : counts) {
            Set<Integer> reduced = new HashSet<>();
            for (to = rowsEnd; to < steps.size(); to++) {
                boolean joins = joinReduced(steps.get(to), count, written.getOrDefault(count, Map.of()), reduced);
                if (!joins && !moveToFront(start, to)) {
                    break;
                }
                rowsEnd += joins ? 0 : 1;
            }
            int from = start + moved;
            if (to > rowsEnd && (to > from + 1 || first.prologue() != null)) {
                Call call = rows(from, to, count, to - rowsEnd);
                if (backend.reducesRows(call)) {
                    return call;
                }
            }
        }
        int from = start + moved;
        return rowsEnd <= from + 1 ? null : rows(from, rowsEnd, counts.getFirst(), 0);
    }

    /** Moves a small step that needs nothing of a group, nor writes what that reads, in front of it, unless it belongs elsewhere. */
    private boolean moveToFront(int start, int at) {
        int from = start + moved;
        Step step = steps.get(at);
        long elements = step.outputs().stream().mapToLong(x -> x.layout().shape().elements()).sum();
        boolean moves = at > from && moved < MOST_MOVED && elements <= steps.get(from).domain().elements() / SMALL
                && step.outputs().stream().noneMatch(x -> storages.get(x.storage()).kind() == Storage.Kind.STATE)
                && steps.subList(from, at).stream().noneMatch(before -> step.inputs().stream().anyMatch(x -> before.writes(x.storage()))
                        || step.outputs().stream().anyMatch(x -> before.reads(x.storage())));
        if (moves) {
            steps.add(from, steps.remove(at));
            moved++;
        }
        return moves;
    }

    /** How many rows a step reduces to one, if that is what it does, in a list. */
    private List<Long> reducedRows(Step step) {
        if (!(step.op() instanceof Reduce reduce) || reduce.kind() == Reduce.Kind.ARGMAX || reduce.kind() == Reduce.Kind.ARGMIN
                || storages.get(step.outputs().getFirst().storage()).kind() == Storage.Kind.STATE) {
            return List.of();
        }
        Shape domain = step.domain();
        long count = reduce.axes().stream().mapToLong(domain::dim).reduce(1, (a, b) -> a * b);
        boolean fits = count >= FEWEST_ROWS && domain.elements() > count && domain.elements() / count <= LONGEST_ROW;
        return fits ? List.of(count) : List.of();
    }

    /** Whether a step that reduces all rows to one can come behind a group and others like it, whose results it must not need. */
    private boolean joinReduced(Step step, long count, Map<Integer, Long> written, Set<Integer> reduced) {
        boolean joins = reducedRows(step).contains(count) && step.inputs().stream().noneMatch(x -> reduced.contains(x.storage()))
                && joinInputs(Call.rowsFirst(step), count, written);
        step.outputs().forEach(x -> reduced.add(x.storage()));
        return joins;
    }

    /** @param reduced how many steps at the end reduce the rows */
    private Call rows(int from, int to, long count, int reduced) {
        Set<Integer> internal = new HashSet<>();
        for (Step step : steps.subList(from, to)) {
            step.outputs().stream().map(Operand::storage).filter(s -> storages.get(s).kind() == Storage.Kind.ARENA)
                    .forEach(internal::add);
        }
        for (int i = 0; i < steps.size(); i++) {
            if (i < from || i >= to) {
                steps.get(i).inputs().forEach(x -> internal.remove(x.storage()));
            }
        }
        List<Integer> leading = steps.subList(from, to).stream().map(step -> leading(step, count)).collect(Collectors.toCollection(ArrayList::new));
        for (int i = 0; i < reduced; i++) {
            leading.set(leading.size() - 1 - i, 0);
        }
        return new Call(List.copyOf(steps.subList(from, to)), new Call.Rows(count, leading, internal));
    }

    /** Into how many rows a step may divide, most first. */
    private List<Long> counts(Step step) {
        boolean goes = (step.op() instanceof Elementwise || step.op() instanceof Reduce || step.op() instanceof MatMul)
                && step.inputs().stream().noneMatch(x -> x.layout().dtype().isInteger() && x.layout().dtype().bytes() > 1);
        if (!goes || step.domain().elements() == 0
                || step.outputs().stream().anyMatch(o -> storages.get(o.storage()).kind() == Storage.Kind.STATE)) {
            return List.of();
        }
        Shape domain = step.domain();
        int most = switch (step.op()) {
            case Reduce reduce -> reduce.axes().isEmpty() ? domain.rank() : reduce.axes().getFirst(); // none for a number
            case MatMul product -> domain.rank() - 2;
            default -> domain.rank();
        };
        List<Long> counts = new ArrayList<>();
        long count = 1;
        for (int i = 0; i < most; i++) {
            count *= domain.dim(i);
            if (domain.dim(i) > 1 && count >= FEWEST_ROWS && domain.elements() / count <= LONGEST_ROW
                    && (!(step.op() instanceof MatMul) || goesSingly(step, count))) {
                counts.addFirst(count);
            }
        }
        return counts;
    }

    /** Whether rows are long enough to go one at a time, as they must where they do not lie at equal distances. */
    private static boolean goesSingly(Step step, long count) {
        return step.domain().elements() / count >= SHORTEST_SINGLE_ROW;
    }

    private static int leading(Step step, long count) {
        long product = 1;
        int i = 0;
        while (product < count) {
            product *= step.domain().dim(i++);
        }
        return i;
    }

    /**
     * Whether a step fits behind the others of a group: every row read of what they write is the one written for the same row. What
     * comes from elsewhere may lie anyhow if rows are long.
     */
    private static boolean join(Step step, long count, Map<Integer, Long> written) {
        if (!joinInputs(step, count, written)) {
            return false;
        }
        int leading = leading(step, count);
        for (Operand output : step.outputs()) {
            OptionalLong stride = output.layout().rowStride(leading);
            if (stride.isEmpty() || !staysInRow(output.layout(), leading, stride.getAsLong())) {
                return false;
            }
        }
        for (Operand output : step.outputs()) {
            written.put(output.storage(), output.layout().rowStride(leading).getAsLong());
        }
        return true;
    }

    private static boolean joinInputs(Step step, long count, Map<Integer, Long> written) {
        int leading = leading(step, count);
        for (int k = 0; k < step.inputs().size(); k++) {
            Layout input = Call.walked(step, k);
            OptionalLong stride = input.rowStride(leading);
            Long writers = written.get(step.inputs().get(k).storage());
            if (stride.isEmpty() && !goesSingly(step, count)
                    || writers != null && (stride.isEmpty() || stride.getAsLong() != writers || !staysInRow(input, leading, writers))) {
                return false;
            }
        }
        return true;
    }

    /** Whether all elements of a row lie in front of where the next row starts. */
    private static boolean staysInRow(Layout layout, int leading, long stride) {
        long span = layout.offset();
        for (int i = leading; i < layout.shape().rank(); i++) {
            if (layout.stride(i) < 0) {
                return false;
            }
            span += layout.stride(i) * (layout.shape().dim(i) - 1);
        }
        return span < stride;
    }
}
