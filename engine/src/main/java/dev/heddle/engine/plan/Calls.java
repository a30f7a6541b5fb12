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

/** Looks at neighbouring steps only; their order stays. */
final class Calls {
    /** A row has to fit into a core's cache a few times over, and there must be enough rows to go round. */
    private static final long LONGEST_ROW = 64 << 10; // elements
    private static final long FEWEST_ROWS = 16;
    private static final long SHORTEST_SINGLE_ROW = 1024;

    private final List<Step> steps;
    private final List<Storage> storages;
    private final Backend backend;

    private Calls(List<Step> steps, List<Storage> storages, Backend backend) {
        this.steps = steps;
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
            Call rows = updates == i + 1 ? rowsFrom(i) : null;
            calls.add(rows != null ? rows : new Call(steps.subList(i, updates), null));
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
    private Call rowsFrom(int from) {
        List<Long> counts = counts(steps.get(from)); // descending
        int to = from;
        Map<Long, Map<Integer, Long>> written = new HashMap<>(); // by count: storage -> distance of the rows written
        List<Long> left = new ArrayList<>();
        for (long count : counts) {
            if (join(steps.get(from), count, written.computeIfAbsent(count, none -> new HashMap<>()))) {
                left.add(count);
            }
        }
        while (!left.isEmpty() && to < steps.size()) {
            counts = left;
            if (++to == steps.size()) {
                break;
            }
            Step next = steps.get(to);
            left = counts.stream().filter(count -> counts(next).contains(count) && join(next, count, written.get(count))).toList();
        }
        for (long count : to > from ? counts : reducedRows(steps.get(from))) {
            int end = to;
            Set<Integer> reduced = new HashSet<>();
            while (end < steps.size() && joinReduced(steps.get(end), count, written.getOrDefault(count, Map.of()), reduced)) {
                end++;
            }
            if (end > to && (end > from + 1 || steps.get(from).prologue() != null)) {
                Call call = rows(from, end, count, end - to);
                if (backend.reducesRows(call)) {
                    return call;
                }
            }
        }
        return to <= from + 1 ? null : rows(from, to, counts.getFirst(), 0);
    }

    /** How many rows a step reduces to one, if that is what it does, in a list. */
    private List<Long> reducedRows(Step step) {
        if (!(step.op() instanceof Reduce reduce) || reduce.kind() == Reduce.Kind.ARGMAX || reduce.kind() == Reduce.Kind.ARGMIN
                || storages.get(step.outputs().getFirst().storage()).kind() == Storage.Kind.STATE) {
            return List.of();
        }
        Shape domain = domain(step);
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
        return new Call(steps.subList(from, to), new Call.Rows(count, leading, internal));
    }

    /** The shape a step runs over. */
    private static Shape domain(Step step) {
        return step.op() instanceof Reduce ? step.inputs().getFirst().layout().shape() : step.outputs().getFirst().layout().shape();
    }

    /** Into how many rows a step may divide, most first. */
    private List<Long> counts(Step step) {
        boolean goes = step.op() instanceof Elementwise || step.op() instanceof Reduce || step.op() instanceof MatMul;
        if (!goes || domain(step).elements() == 0
                || step.outputs().stream().anyMatch(o -> storages.get(o.storage()).kind() == Storage.Kind.STATE)) {
            return List.of();
        }
        Shape domain = domain(step);
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
        return domain(step).elements() / count >= SHORTEST_SINGLE_ROW;
    }

    private static int leading(Step step, long count) {
        long product = 1;
        int i = 0;
        while (product < count) {
            product *= domain(step).dim(i++);
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
