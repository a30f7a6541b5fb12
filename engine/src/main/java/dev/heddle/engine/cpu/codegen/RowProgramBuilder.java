// Puts the steps of a call into the phases of a row program.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cpu.codegen.RowProgram.Computed;
import dev.heddle.engine.cpu.codegen.RowProgram.Fold;
import dev.heddle.engine.cpu.codegen.RowProgram.Phase;
import dev.heddle.engine.cpu.codegen.RowProgram.Store;
import dev.heddle.engine.cpu.codegen.RowProgram.Walk;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import dev.heddle.engine.plan.Step.Operand;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;

/** Builds one {@link RowProgram}: step by step, each in the first phase in which all that it needs is known. */
final class RowProgramBuilder {
    /** Code of a phase above this is not made, see {@link Program#codeBytes}. */
    private static final int LARGEST = 6000;
    private static final int WIDEST = 4096; // elements of a row whose columns are folded: lanes of two folds fit the second-level cache
    private static final long MOST = (long) Reduction.CHUNK * Reduction.CHUNK; // rows that are folded in chunks, and these in one
    private static final int MAX_LOADS = 2; // of what is computed again

    /** The call is none that such a program can do. */
    static final class DoesNotFit extends Exception {
        private static final long serialVersionUID = 1;

        DoesNotFit() {
            super(null, null, false, false);
        }
    }

    /** What a step computes: its expression, when, and where it goes. */
    private static final class Value {
        final Operand written;
        final long rowBytes;
        final int operand;
        final Expr value; // in terms of its phase
        final int phase; // of a number, the first that can use it
        final int number; // -1: a row
        boolean stored;
        int lastLoaded;
        int slot = -1;

        Value(Operand written, long rowBytes, int operand, Expr value, int phase, int number, boolean stored) {
            this.written = written;
            this.rowBytes = rowBytes;
            this.operand = operand;
            this.value = value;
            this.phase = phase;
            this.number = number;
            this.stored = stored;
        }
    }

    private final Call call;
    private final List<Operand> operands;
    private final Set<Integer> internal;
    private final List<Walk> walks = new ArrayList<>();
    private final Map<Integer, Value> written = new HashMap<>(); // by storage
    private final List<Value> rows = new ArrayList<>();
    private final List<Phase> phases = new ArrayList<>();
    private final Map<Expr.Input, Value> loaded = new HashMap<>(); // inputs that stand for rows of scratch memory until those are placed
    private final List<ColumnFold> columns = new ArrayList<>();
    private int n = 1;
    private int numbers;

    RowProgramBuilder(Call call) {
        this.call = call;
        operands = call.operands();
        internal = call.rows().internal();
    }

    RowProgram build() throws DoesNotFit {
        long count = call.rows().count();
        for (Step step : call.steps()) {
            if (!(step.op() instanceof Elementwise) && !(step.op() instanceof Reduce)) {
                throw new DoesNotFit();
            }
            long inner = step.domain().elements() / count;
            if (inner > RowProgram.LONGEST || inner > 1 && n > 1 && inner != n) {
                throw new DoesNotFit();
            }
            n = Math.max(n, (int) inner);
        }
        if (n == 1) {
            throw new DoesNotFit();
        }
        for (int i = 0, first = 0; i < call.steps().size(); i++) {
            Step step = call.steps().get(i);
            int leading = call.rows().leading().get(i);
            if (leading == 0) {
                Reduce reduce = (Reduce) step.op();
                walk(Call.rowsFirst(step), reduce.axes().size());
                foldColumns(reduce, step, first);
            } else {
                walk(step, leading);
                if (step.op() instanceof Reduce reduce) {
                    fold(reduce, step, first);
                } else {
                    compute(((Elementwise) step.op()).outputs(), step, first);
                }
            }
            first += step.inputs().size() + step.outputs().size();
        }
        return finish();
    }

    private void walk(Step step, int leading) throws DoesNotFit {
        for (Operand x : step.inputs()) {
            walks.add(walk(x.layout(), leading, true));
        }
        for (Operand x : step.outputs()) {
            walks.add(walk(x.layout(), leading, false));
        }
    }

    private static Walk walk(Layout layout, int leading, boolean repeats) throws DoesNotFit {
        OptionalLong stride = layout.rowStride(leading);
        if (stride.isEmpty()) {
            throw new DoesNotFit();
        }
        boolean single = true;
        boolean run = true;
        long expected = 1;
        for (int axis = layout.shape().rank() - 1; axis >= leading; axis--) {
            if (layout.shape().dim(axis) > 1) {
                single &= repeats && layout.stride(axis) == 0;
                run &= layout.stride(axis) == expected;
                expected *= layout.shape().dim(axis);
            }
        }
        if (!single && !run) {
            throw new DoesNotFit();
        }
        return new Walk(stride.getAsLong() * layout.dtype().bytes(), single);
    }

    private void compute(List<Expr> outputs, Step step, int first) throws DoesNotFit {
        for (int k = 0; k < outputs.size(); k++) {
            int operand = first + step.inputs().size() + k;
            Expr e = Program.simplify(outputs.get(k));
            int phase = phase(e, step);
            Expr value = resolve(e, step, first, phase);
            if (walks.get(operand).single()) {
                number(value, phase, operand);
            } else {
                Operand to = operands.get(operand);
                rows.add(new Value(to, walks.get(operand).rowBytes(), operand, value, phase, -1, !internal.contains(to.storage())));
                written.put(to.storage(), rows.getLast());
            }
        }
    }

    /** What a reduction reduces. */
    private static Expr reduced(Step step) {
        return step.prologue() != null ? step.prologue() : new Expr.Input(0, step.inputs().getFirst().layout().dtype());
    }

    private void fold(Reduce reduce, Step step, int first) throws DoesNotFit {
        Expr e = Program.simplify(reduced(step));
        int output = first + step.inputs().size();
        Reduce.Kind kind = reduce.kind() == Reduce.Kind.MEAN ? Reduce.Kind.SUM : reduce.kind();
        boolean combines = kind == Reduce.Kind.SUM || kind == Reduce.Kind.PROD || kind == Reduce.Kind.MAX || kind == Reduce.Kind.MIN;
        Shape shape = step.domain();
        long folded = reduce.axes().stream().mapToLong(shape::dim).reduce(1, (a, b) -> a * b);
        if (!combines || folded != n || !walks.get(output).single() || !e.dtype().isFloat() || !Program.isVector(e.dtype())) {
            throw new DoesNotFit();
        }
        int phase = phase(e, step);
        int folds = numbers++;
        phase(phase).folds().add(new Fold(kind, resolve(e, step, first, phase).cast(DType.F32), folds));
        Expr result = Reduction.result(reduce.kind(), new Expr.Input(number(folds), DType.F32), folded, operands.get(output).layout().dtype());
        number(result, phase + 1, output);
    }

    /** Adds every row to one of the lanes of a block of rows, which then are a row of scratch memory that is read and written. */
    private void foldColumns(Reduce reduce, Step step, int first) throws DoesNotFit {
        Expr e = Program.simplify(reduced(step));
        int output = first + step.inputs().size();
        long count = call.rows().count();
        long planeRows = lastRun(step.domain(), reduce.axes());
        boolean fits = n <= WIDEST && planeRows <= MOST && count / planeRows <= Reduction.CHUNK && !walks.get(output).single()
                && e.dtype().isFloat() && Program.isVector(e.dtype()) && (columns.isEmpty() || columns.getFirst().planeRows() == planeRows);
        if (!fits) {
            throw new DoesNotFit();
        }
        int phase = Math.max(phase(e, step), phases.size() - 1); // behind the first, which reads memory, see RowLoop
        int lanes = operands.size() + columns.size();
        Expr value = resolve(e, step, first, phase).cast(DType.F32);
        phase(phase).stores().add(new Store(lanes, new Expr.Binary(Reduction.combining(reduce.kind()), new Expr.Input(lanes, DType.F32), value), true));
        columns.add(new ColumnFold(reduce.kind(), lanes, output, operands.get(output).layout().dtype(), count, planeRows, n));
    }

    /** How many elements lie along the last run of neighbouring axes; the axes before must be neighbours too, as each run is reduced by itself. */
    private static long lastRun(Shape shape, List<Integer> axes) throws DoesNotFit {
        long run = 1;
        int runs = 0;
        boolean inside = false;
        for (int axis = shape.rank() - 1; axis >= 0; axis--) {
            if (shape.dim(axis) > 1) {
                boolean reduced = axes.contains(axis);
                runs += reduced && !inside ? 1 : 0;
                run *= reduced && runs == 1 ? shape.dim(axis) : 1;
                inside = reduced;
            }
        }
        if (runs > 2) {
            throw new DoesNotFit();
        }
        return run;
    }

    /** Notes a number as the value of an operand. */
    private void number(Expr e, int phase, int operand) throws DoesNotFit {
        Operand to = operands.get(operand);
        if (!Program.isVector(e.dtype()) || written.containsKey(to.storage())) {
            throw new DoesNotFit();
        }
        boolean external = !internal.contains(to.storage());
        phase(phase).numbers().add(new Computed(e, numbers, external ? operand : -1));
        written.put(to.storage(), new Value(to, walks.get(operand).rowBytes(), operand, e, phase, numbers++, external));
    }

    private Phase phase(int phase) {
        while (phases.size() <= phase) {
            phases.add(new Phase());
        }
        return phases.get(phase);
    }

    /** The input of that number; rows of scratch memory are placed later, so numbers come far behind operands for now. */
    private static int number(int index) {
        return Integer.MAX_VALUE / 2 + index;
    }

    private static boolean isNumber(Expr.Input input) {
        return input.index() >= number(0);
    }

    /** The first phase in which all inputs are known. */
    private int phase(Expr e, Step step) {
        int phase = 0;
        for (Expr.Input input : inputs(e)) {
            Value value = written.get(step.inputs().get(input.index()).storage());
            phase = value == null ? phase : Math.max(phase, value.phase);
        }
        return phase;
    }

    private static List<Expr.Input> inputs(Expr e) {
        return Program.uses(List.of(e)).keySet().stream().filter(Expr.Input.class::isInstance).map(Expr.Input.class::cast).toList();
    }

    /** An expression of a step in terms of a phase. */
    private Expr resolve(Expr e, Step step, int first, int phase) throws DoesNotFit {
        List<Stage> stages = Stage.of(List.of(e), step.inputs().size());
        if (stages.size() > 1 || !stages.getFirst().vector()) {
            throw new DoesNotFit();
        }
        Expr[] inputs = new Expr[step.inputs().size()];
        for (int k = 0; k < inputs.length; k++) {
            inputs[k] = resolve(first + k, phase);
        }
        return e.substitute(inputs);
    }

    private Expr resolve(int operand, int phase) throws DoesNotFit {
        Operand x = operands.get(operand);
        DType dtype = x.layout().dtype();
        Value value = written.get(x.storage());
        if (value == null) {
            return new Expr.Input(sameAs(operand), dtype);
        }
        boolean same = value.rowBytes == walks.get(operand).rowBytes() && value.written.layout().byteOffset() == x.layout().byteOffset()
                && value.written.layout().dtype() == dtype && value.number >= 0 == walks.get(operand).single();
        if (!same) {
            throw new DoesNotFit();
        }
        if (value.number >= 0) {
            return new Expr.Input(number(value.number), dtype);
        }
        if (value.phase == phase || isCheap(value)) {
            for (Expr.Input input : inputs(value.value)) {
                Value load = loaded.get(input);
                if (load != null) {
                    load.lastLoaded = Math.max(load.lastLoaded, phase);
                }
            }
            return value.value;
        }
        value.stored = true;
        value.lastLoaded = Math.max(value.lastLoaded, phase);
        Expr.Input load = new Expr.Input(value.operand, dtype);
        loaded.put(load, value);
        return load;
    }

    /** The first operand that is the same memory walked alike, so that equal loads are one. */
    private int sameAs(int operand) {
        for (int k = 0; k < operand; k++) {
            if (operands.get(k).storage() == operands.get(operand).storage() && walks.get(k).equals(walks.get(operand))
                    && operands.get(k).layout().byteOffset() == operands.get(operand).layout().byteOffset()
                    && operands.get(k).layout().dtype() == operands.get(operand).layout().dtype()) {
                return k;
            }
        }
        return operand;
    }

    private boolean isCheap(Value value) {
        long loads = inputs(value.value).stream().filter(input -> !isNumber(input) && !walks.get(input.index()).single()).count();
        return Program.cost(List.of(value.value)) == 1 && loads <= MAX_LOADS;
    }

    private RowProgram finish() throws DoesNotFit {
        for (Value value : rows) {
            if (value.stored) {
                phase(value.phase).stores().add(new Store(value.operand, value.value, false));
            }
        }
        List<Walk> all = new ArrayList<>(walks);
        columns.forEach(fold -> all.add(new Walk((long) n * DType.F32.bytes(), false)));
        List<Long> scratch = new ArrayList<>();
        placeInternalRows(all, scratch);
        all.add(new Walk(0, false));
        scratch.add((long) n * DType.F32.bytes());
        all.add(new Walk(0, false));
        scratch.add((long) numbers * RowPhase.NUMBER_BYTES);
        all.add(new Walk(0, false));
        scratch.add((long) phases.stream().mapToInt(phase -> phase.folds().size()).max().orElse(0) * RowPhase.MOST_CHUNKS * DType.F32.bytes());
        List<Expr> expressions = new ArrayList<>();
        for (Phase phase : phases) {
            phase.expressions().forEach(e -> expressions.add(renumbered(e, all.size())));
            if (Program.codeBytes(phase.expressions()) > LARGEST) {
                throw new DoesNotFit();
            }
        }
        Program program = Program.of(expressions);
        Iterator<Expr> values = program.outputs().iterator();
        List<Phase> finished = new ArrayList<>();
        for (Phase phase : phases) {
            Phase placed = phase.with(values);
            finished.add(new Phase(placed.numbers(), placed.stores().stream().map(s -> new Store(place(s.operand()), s.value(), s.column())).toList(), placed.folds()));
        }
        return new RowProgram(finished, all, n, scratch, program.constants(), columns);
    }

    /** Puts internal rows into the rows of results that are written later, or else into scratch memory. */
    private void placeInternalRows(List<Walk> all, List<Long> scratch) {
        boolean[] taken = new boolean[operands.size()];
        for (Value value : rows) {
            if (!value.stored || !internal.contains(value.written.storage())) {
                continue;
            }
            for (Value result : rows) {
                if (value.slot < 0 && result.phase > value.phase && result.phase >= value.lastLoaded && !taken[result.operand]
                        && !internal.contains(result.written.storage())
                        && result.written.layout().dtype() == value.written.layout().dtype()) {
                    value.slot = result.operand;
                    taken[result.operand] = true;
                }
            }
            if (value.slot < 0) {
                value.slot = all.size();
                all.add(new Walk(0, false));
                scratch.add((long) n * value.written.layout().dtype().bytes());
            }
        }
    }

    private int place(int operand) {
        for (Value value : rows) {
            if (value.operand == operand && value.slot >= 0) {
                return value.slot;
            }
        }
        return operand;
    }

    private Expr renumbered(Expr e, int all) {
        return Program.withInputs(e, input -> isNumber(input) ? input.index() - number(0) + all : loaded.containsKey(input) ? place(input.index()) : input.index());
    }
}
