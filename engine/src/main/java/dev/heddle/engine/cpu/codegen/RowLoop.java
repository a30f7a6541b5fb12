// The loop of a row program over its rows: which phases are methods, and what runs with what.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.op.Expr;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Emits {@link Loop#run} for a {@link RowProgram}. If there are several, phases are methods of their own, because the compiler gives up on
 * vectors in methods that are large, and then makes objects of them; the numbers that a phase leaves to the next lie in memory.
 *
 * <p>The last phase of a row runs in one loop with the first of the next row: the one writes memory, the other reads it, and by turns
 * neither would keep the memory busy. So the loop runs once more than there are rows, at first with nothing to write, which then goes into
 * a row of scratch memory, and in the end with nothing new to read. Rows of several chunks are run over one by one, as two of them do not fit
 * the first-level cache.
 *
 * @param phases each a method if there are several
 * @param overlaps whether the first phase is also the last of the row {@link #BEFORE}
 * @param single for each operand, whether it has one element a row; the last three are rows of scratch memory: for what is not wanted,
 *     for numbers, for what chunks come to
 * @param rest whether the number of elements is no multiple of a reduction's lanes
 * @param blocks whether there are several blocks
 * @param chunks how many chunks there are if several, else 0
 */
record RowLoop(List<RowProgram.Phase> phases, boolean overlaps, List<Boolean> single, boolean rest, boolean blocks, int chunks) implements Loops.Key {
    /** Bytes of a method that is not divided: the virtual machine's first compiler gives up on about 900. */
    private static final int LARGE = 600;
    /** Added to an operand's index: the same in the row before. */
    private static final int BEFORE = 1 << 20;

    /**
     * The loop of phases.
     *
     * @param fixed for each operand, whether it is the same memory in all rows
     */
    static RowLoop of(List<RowProgram.Phase> phases, List<Boolean> single, List<Boolean> fixed, int n) {
        int chunks = (n + Reduction.CHUNK - 1) / Reduction.CHUNK;
        List<RowProgram.Phase> methods = phases.stream().flatMap(RowLoop::methods).toList();
        List<RowProgram.Phase> overlapped = chunks > 1 ? methods : overlapped(methods, fixed);
        return new RowLoop(overlapped, overlapped.size() < methods.size(), single, n % FloatReduction.LANES != 0, n > Reduction.BLOCK, chunks > 1 ? chunks : 0);
    }

    /**
     * Puts the last phase of the row before into the first, if the last stores rows of results, the first needs no numbers and stores nothing
     * into scratch memory that the last may still read, and both are not too large.
     */
    private static List<RowProgram.Phase> overlapped(List<RowProgram.Phase> phases, List<Boolean> fixed) {
        if (phases.size() == 1) {
            return phases;
        }
        RowProgram.Phase first = phases.getFirst();
        RowProgram.Phase last = phases.getLast().on(operand -> operand >= fixed.size() || fixed.get(operand) ? operand : operand + BEFORE);
        RowProgram.Phase both = new RowProgram.Phase(last.numbers(), Stream.concat(last.stores().stream(), first.stores().stream()).toList(), first.folds());
        boolean stores = last.folds().isEmpty() && !last.stores().isEmpty() && last.stores().stream().noneMatch(RowProgram.Store::column);
        boolean apart = first.numbers().isEmpty() && first.written().stream().noneMatch(fixed::get);
        if (!stores || !apart || Program.codeBytes(both.expressions()) > LARGE) {
            return phases;
        }
        return Stream.concat(Stream.of(both), phases.subList(1, phases.size() - 1).stream()).toList();
    }

    /** A phase as methods: its numbers apart if it is large, sums of columns (and folds) before what else is stored, as stores commit in order. */
    private static Stream<RowProgram.Phase> methods(RowProgram.Phase phase) {
        List<RowProgram.Store> columns = phase.stores().stream().filter(RowProgram.Store::column).toList();
        List<RowProgram.Store> others = phase.stores().stream().filter(store -> !store.column()).toList();
        List<RowProgram.Phase> methods = new ArrayList<>(List.of(new RowProgram.Phase(phase.numbers(), columns, phase.folds()),
                new RowProgram.Phase(List.of(), others, List.of())));
        if (columns.isEmpty() || others.isEmpty()) {
            methods = new ArrayList<>(List.of(phase));
        }
        RowProgram.Phase first = methods.getFirst();
        boolean elements = !first.stores().isEmpty() || !first.folds().isEmpty();
        if (elements && !first.numbers().isEmpty() && Program.codeBytes(first.expressions()) > LARGE) {
            methods.set(0, new RowProgram.Phase(List.of(), first.stores(), first.folds()));
            methods.addFirst(new RowProgram.Phase(first.numbers(), List.of(), List.of()));
        }
        return methods.stream();
    }

    @Override
    public void emit(ClassDesc self, CodeBuilder code) {
        Map<Integer, Integer> pointers = new TreeMap<>(); // by operand: locals
        phases.forEach(phase -> RowPhase.operands(this, phase).forEach(operand -> pointers.computeIfAbsent(operand, k -> Loops.pointer(code, k % BEFORE))));
        List<Integer> before = pointers.keySet().stream().filter(operand -> operand >= BEFORE).toList();
        before.forEach(operand -> pointers.computeIfAbsent(operand - BEFORE, k -> Loops.pointer(code, k)));
        RowPhase only = parts() > 0 ? null : new RowPhase(code, this, phases.getFirst(), pointers, Loops.CONSTANTS, Loops.N);
        phases.getFirst().written().stream().filter(before::contains).forEach(operand -> discard(code, pointers.get(operand)));
        List<Integer> columns = phases.stream().flatMap(phase -> phase.stores().stream()).filter(RowProgram.Store::column).map(RowProgram.Store::operand).toList();
        int row = code.allocateLocal(TypeKind.INT);
        code.iconst_0().istore(row);
        Loops.loop(code, row, Loops.ROWS, 1, () -> {
            if (only != null) {
                only.emit();
            }
            for (int i = 0; i < parts(); i++) {
                call(self, code, i, pointers);
            }
            before.forEach(operand -> code.lload(pointers.get(operand - BEFORE)).lstore(pointers.get(operand)));
            pointers.forEach((operand, local) -> {
                if (columns.contains(operand)) {
                    nextLane(code, row, operand, local);
                } else if (operand < BEFORE) {
                    Loops.advance(code, local, operand);
                }
            });
        });
        if (overlaps) {
            Set<Integer> written = phases.getFirst().written();
            RowPhase.operands(this, phases.getFirst()).stream().filter(operand -> operand < BEFORE).forEach(operand -> {
                if (written.contains(operand)) {
                    discard(code, pointers.get(operand));
                } else {
                    Loops.retreat(code, pointers.get(operand), operand);
                }
            });
            call(self, code, 0, pointers);
        }
    }

    /** Lets a pointer point to the lane of columns that is the next row's: the first again after the last. */
    private static void nextLane(CodeBuilder code, int row, int operand, int pointer) {
        code.aload(Loops.AT).loadConstant(operand).laload().iload(row).iconst_1().iadd().loadConstant(ColumnFold.LANES - 1).iand().i2l()
                .aload(Loops.STEP).loadConstant(operand).laload().lmul().ladd().loadConstant(Loops.POINTER).land().lstore(pointer);
    }

    /** Lets a pointer point to memory that nobody reads. */
    private void discard(CodeBuilder code, int pointer) {
        code.aload(Loops.AT).loadConstant(discarded()).laload().loadConstant(Loops.POINTER).land().lstore(pointer);
    }

    private void call(ClassDesc self, CodeBuilder code, int part, Map<Integer, Integer> pointers) {
        RowPhase.operands(this, phases.get(part)).forEach(operand -> code.lload(pointers.get(operand)));
        code.aload(Loops.CONSTANTS).iload(Loops.N).invokestatic(self, Loops.part(part), part(part));
    }

    /** The row of scratch memory for what is not wanted. */
    private int discarded() {
        return single.size() - 3;
    }

    /** The one for numbers. */
    int numbers() {
        return single.size() - 2;
    }

    /** The one for what chunks come to. */
    int partials() {
        return single.size() - 1;
    }

    /** Whether an input is a number that a phase has computed. */
    boolean isNumber(Expr.Input in) {
        return in.index() >= single.size() && in.index() < BEFORE;
    }

    /** Whether an input is one element for the whole row. */
    boolean isOne(Expr.Input in) {
        return isNumber(in) || single.get(in.index() % BEFORE);
    }

    @Override
    public int parts() {
        return phases.size() > 1 || overlaps ? phases.size() : 0;
    }

    @Override
    public MethodTypeDesc part(int part) {
        return MethodTypeDesc.of(ConstantDescs.CD_void, Stream.concat(RowPhase.operands(this, phases.get(part)).stream().map(operand -> ConstantDescs.CD_long),
                Stream.of(ConstantDescs.CD_long.arrayType(), ConstantDescs.CD_int)).toList());
    }

    @Override
    public void emitPart(int part, CodeBuilder code) {
        Map<Integer, Integer> pointers = new TreeMap<>();
        RowPhase.operands(this, phases.get(part)).forEach(operand -> pointers.put(operand, 2 * pointers.size()));
        int constants = 2 * pointers.size();
        pointers.values().forEach(local -> code.lload(local).loadConstant(Loops.POINTER).land().lstore(local));
        new RowPhase(code, this, phases.get(part), pointers, constants, constants + 1).emit();
    }
}
