// What softmax, the norms and their like do to a row, in as few runs over it as their sums and maxima allow.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.plan.Call;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.IntUnaryOperator;

/**
 * The steps of a call that goes row by row, put into phases: each runs over the elements of a row once, and what is folded in one is known
 * in the next. Values that a later phase needs are stored, in the row of a later result if there is one, or computed again if that costs no
 * more than to store and to load them.
 *
 * <p>Steps that reduce over the rows may come last. In expressions, inputs are numbered: the operands of the call, the lanes of columns that
 * are folded, rows of scratch memory, then numbers that the phases compute.
 */
public final class RowProgram {
    static final int LONGEST = 1 << 16; // elements of a row

    /** How an operand is walked: bytes from row to row, and whether it has one element a row. */
    record Walk(long rowBytes, boolean single) {}

    /** A value written to an operand, or taken into the lanes of a column. */
    record Store(int operand, Expr value, boolean column) {}

    /** A sum, product, maximum or minimum over the elements of a row: the number of that index. */
    record Fold(Reduce.Kind kind, Expr value, int number) {}

    /** A number computed of others, and the operand that it is written to, or -1. */
    record Computed(Expr value, int number, int operand) {}

    /** First numbers are computed, then the elements are run over, if there is anything to store or to fold. */
    record Phase(List<Computed> numbers, List<Store> stores, List<Fold> folds) {
        Phase() {
            this(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
        }

        List<Expr> expressions() {
            List<Expr> all = new ArrayList<>();
            numbers.forEach(number -> all.add(number.value));
            stores.forEach(store -> all.add(store.value));
            folds.forEach(fold -> all.add(fold.value));
            return all;
        }

        /** The operands that it writes. */
        Set<Integer> written() {
            Set<Integer> operands = new TreeSet<>();
            stores.forEach(store -> operands.add(store.operand));
            numbers.stream().map(Computed::operand).filter(operand -> operand >= 0).forEach(operands::add);
            return operands;
        }

        /** The same of other operands. */
        Phase on(IntUnaryOperator to) {
            List<Expr> moved = expressions().stream().map(e -> Program.withInputs(e, input -> to.applyAsInt(input.index()))).toList();
            Phase phase = with(moved.iterator());
            return new Phase(phase.numbers.stream().map(x -> new Computed(x.value, x.number, x.operand < 0 ? x.operand : to.applyAsInt(x.operand))).toList(),
                    phase.stores.stream().map(x -> new Store(to.applyAsInt(x.operand), x.value, x.column)).toList(), phase.folds);
        }

        Phase with(Iterator<Expr> values) {
            List<Computed> computed = numbers.stream().map(x -> new Computed(values.next(), x.number, x.operand)).toList();
            List<Store> stored = stores.stream().map(x -> new Store(x.operand, values.next(), x.column)).toList();
            return new Phase(computed, stored, folds.stream().map(x -> new Fold(x.kind, values.next(), x.number)).toList());
        }
    }

    private final List<Phase> phases;
    private final List<Walk> walks; // of operands, of lanes of columns, of rows of scratch memory: the last three are RowLoop's
    private final int n;
    private final List<Long> scratch; // bytes of rows of scratch memory
    private final long[] constants;
    private final List<ColumnFold> columns;

    RowProgram(List<Phase> phases, List<Walk> walks, int n, List<Long> scratch, long[] constants, List<ColumnFold> columns) {
        this.phases = phases;
        this.walks = walks;
        this.n = n;
        this.scratch = scratch;
        this.constants = constants;
        this.columns = columns;
    }

    /** The program of a call, or null if its steps are not all of f32 or 16-bit floats, over rows that lie in one run, and few. */
    public static RowProgram of(Call call) {
        try {
            return new RowProgramBuilder(call).build();
        } catch (RowProgramBuilder.DoesNotFit other) {
            return null;
        }
    }

    /** The loop of the program. */
    public LoopCall loop() {
        List<Boolean> single = walks.stream().map(Walk::single).toList();
        List<Boolean> fixed = walks.stream().map(walk -> walk.rowBytes == 0).toList();
        return new LoopCall(RowLoop.of(phases, single, fixed, n), true, constants);
    }

    /** Elements in a row. */
    public int n() {
        return n;
    }

    /** The folds over all rows. */
    public List<ColumnFold> columns() {
        return columns;
    }

    /** Bytes from row to row, of each operand of the call, lanes of columns and row of scratch memory. */
    public long[] steps() {
        return walks.stream().mapToLong(Walk::rowBytes).toArray();
    }

    /** Bytes of scratch memory, for any number of rows. */
    public long scratchBytes() {
        return scratch.stream().mapToLong(RowProgram::align).sum();
    }

    private static long align(long bytes) {
        return bytes + 63 & -64;
    }

    /** Writes the addresses of the rows of scratch memory behind those of the operands. */
    public void placeScratch(long[] at, long address) {
        long to = address;
        for (int i = 0, k = walks.size() - scratch.size(); k < at.length; i++, k++) {
            at[k] = to;
            to += align(scratch.get(i));
        }
    }
}
