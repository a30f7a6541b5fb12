// Writes the code of a row program: for every row phase after phase, each a method with one loop over the row.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.IntConsumer;
import java.util.stream.Stream;

/**
 * Emits {@link Loop#run} for a {@link RowProgram}. If there are several, phases are methods of their own, because the compiler gives up on
 * vectors in methods that are large, and then makes objects of them; the numbers that a phase leaves to the next lie in memory. Sums and their
 * like combine elements in the order that {@link Reduction} gives, so they have the same bits as if they were reduced by themselves.
 *
 * <p>The last phase of a row runs in one loop with the first of the next row: the one writes memory, the other reads it, and by turns
 * neither would keep the memory busy. So the loop runs once more than there are rows, at first with nothing to write, which then goes into
 * a row of scratch memory, and in the end with nothing new to read. Rows of several chunks are run over one by one, as two of them do not fit
 * the first-level cache.
 */
final class RowLoop {
    private static final ClassDesc MATH = ClassDesc.of("java.lang.Math");
    private static final int VECTORS = FloatReduction.LANES / VectorCode.LANES; // that hold all lanes of a reduction
    private static final int EXTREMES = 4; // vectors of maxima: one would wait a dozen cycles for itself, and their order does not matter
    // Bytes of a method that is not divided, and of a body that may be there twice: the virtual machine's first compiler gives up on about 900.
    private static final int LARGE = 600;
    private static final int SMALL = 250;
    static final int NUMBER_BYTES = VectorCode.LANES * DType.F32.bytes();
    static final int MOST_CHUNKS = RowProgram.LONGEST / Reduction.CHUNK;

    /** Added to an operand's index: the same in the row before. */
    private static final int BEFORE = 1 << 20;

    /**
     * What distinguishes such loops.
     *
     * @param overlaps whether the first phase is also the last of the row {@link #BEFORE}
     * @param single for each operand, whether it has one element a row; the last three are rows of scratch memory: for what is not wanted,
     *     for numbers, for what chunks come to
     * @param rest whether the number of elements is no multiple of a reduction's lanes
     * @param blocks whether there are several blocks
     * @param chunks how many chunks there are if several, else 0
     */
    record Key(List<RowProgram.Phase> phases, boolean overlaps, List<Boolean> single, boolean rest, boolean blocks, int chunks) implements Loops.Key {
        @Override
        public void emit(ClassDesc self, CodeBuilder code) {
            Map<Integer, Integer> pointers = new TreeMap<>(); // by operand: locals
            phases.forEach(phase -> pointers(this, phase).forEach(operand -> pointers.computeIfAbsent(operand, k -> Loops.pointer(code, k % BEFORE))));
            List<Integer> before = pointers.keySet().stream().filter(operand -> operand >= BEFORE).toList();
            before.forEach(operand -> pointers.computeIfAbsent(operand - BEFORE, k -> Loops.pointer(code, k)));
            RowLoop only = parts() > 0 ? null : new RowLoop(code, this, phases.getFirst(), pointers, Loops.CONSTANTS, Loops.N);
            phases.getFirst().written().stream().filter(before::contains).forEach(operand -> discard(code, pointers.get(operand)));
            List<Integer> columns = phases.stream().flatMap(phase -> phase.stores().stream()).filter(RowProgram.Store::column).map(RowProgram.Store::operand).toList();
            int row = code.allocateLocal(TypeKind.INT);
            code.iconst_0().istore(row);
            Loops.loop(code, row, Loops.ROWS, 1, () -> {
                if (only != null) {
                    only.emitPhase();
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
                pointers(this, phases.getFirst()).stream().filter(operand -> operand < BEFORE)
                        .forEach(operand -> Loops.retreat(code, pointers.get(operand), operand));
                phases.getFirst().written().stream().filter(operand -> operand < BEFORE).forEach(operand -> discard(code, pointers.get(operand)));
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
            code.aload(Loops.AT).loadConstant(single.size() - 3).laload().loadConstant(Loops.POINTER).land().lstore(pointer);
        }

        private void call(ClassDesc self, CodeBuilder code, int part, Map<Integer, Integer> pointers) {
            pointers(this, phases.get(part)).forEach(operand -> code.lload(pointers.get(operand)));
            code.aload(Loops.CONSTANTS).iload(Loops.N).invokestatic(self, Loops.part(part), part(part));
        }

        private boolean isNumber(Expr.Input in) {
            return in.index() >= single.size() && in.index() < BEFORE;
        }

        /** Whether an input is one element for the whole row. */
        private boolean isOne(Expr.Input in) {
            return isNumber(in) || single.get(in.index() % BEFORE);
        }

        @Override
        public int parts() {
            return phases.size() > 1 || overlaps ? phases.size() : 0;
        }

        @Override
        public MethodTypeDesc part(int part) {
            return MethodTypeDesc.of(ConstantDescs.CD_void, Stream.concat(pointers(this, phases.get(part)).stream().map(operand -> ConstantDescs.CD_long),
                    Stream.of(ConstantDescs.CD_long.arrayType(), ConstantDescs.CD_int)).toList());
        }

        @Override
        public void emitPart(int part, CodeBuilder code) {
            Map<Integer, Integer> pointers = new TreeMap<>();
            pointers(this, phases.get(part)).forEach(operand -> pointers.put(operand, 2 * pointers.size()));
            int constants = 2 * pointers.size();
            pointers.values().forEach(local -> code.lload(local).loadConstant(Loops.POINTER).land().lstore(local));
            new RowLoop(code, this, phases.get(part), pointers, constants, constants + 1).emitPhase();
        }
    }

    private final CodeBuilder code;
    private final Key key;
    private final RowProgram.Phase phase;
    private final VectorCode vectors;
    private final Map<Integer, Integer> pointers; // by operand: locals
    private final int n; // a local
    private final int index;
    private final int firstLane; // a mask

    private RowLoop(CodeBuilder code, Key key, RowProgram.Phase phase, Map<Integer, Integer> pointers, int constants, int n) {
        this.code = code;
        this.key = key;
        this.phase = phase;
        this.pointers = pointers;
        this.n = n;
        vectors = new VectorCode(code, phase.expressions(), constants, this::load);
        index = code.allocateLocal(TypeKind.INT);
        code.iconst_0().iconst_1();
        firstLane = vectors.first();
    }

    /**
     * The key of a loop.
     *
     * @param fixed for each operand, whether it is the same memory in all rows
     */
    static Key key(List<RowProgram.Phase> phases, List<Boolean> single, List<Boolean> fixed, int n) {
        int chunks = (n + Reduction.CHUNK - 1) / Reduction.CHUNK;
        List<RowProgram.Phase> methods = phases.stream().flatMap(RowLoop::methods).toList();
        boolean overlaps = chunks <= 1 && overlap(methods, fixed);
        return new Key(overlaps ? overlapped(methods, fixed) : methods, overlaps, single, n % FloatReduction.LANES != 0, n > Reduction.BLOCK, chunks > 1 ? chunks : 0);
    }

    /**
     * Whether the last phase of a row can run with the first of the next: it stores rows of results, the first needs no numbers and stores
     * nothing into scratch memory that the last may still read, and both are not too large.
     */
    private static boolean overlap(List<RowProgram.Phase> phases, List<Boolean> fixed) {
        RowProgram.Phase first = phases.getFirst();
        RowProgram.Phase last = phases.getLast();
        boolean stores = last.folds().isEmpty() && !last.stores().isEmpty() && last.stores().stream().noneMatch(RowProgram.Store::column);
        List<Expr> both = Stream.concat(first.expressions().stream(), last.expressions().stream()).toList();
        return phases.size() > 1 && stores && first.numbers().isEmpty() && first.written().stream().noneMatch(fixed::get) && Program.codeBytes(both) <= LARGE;
    }

    /** Puts the last phase of the row before into the first. */
    private static List<RowProgram.Phase> overlapped(List<RowProgram.Phase> phases, List<Boolean> fixed) {
        RowProgram.Phase first = phases.getFirst();
        RowProgram.Phase last = phases.getLast().on(operand -> operand >= fixed.size() || fixed.get(operand) ? operand : operand + BEFORE);
        RowProgram.Phase both = new RowProgram.Phase(last.numbers(), Stream.concat(last.stores().stream(), first.stores().stream()).toList(), first.folds());
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

    /** The operands that a phase needs, ascending, of this row and then of the row before, and always the rows of numbers and of chunks. */
    private static List<Integer> pointers(Key key, RowProgram.Phase phase) {
        Set<Integer> operands = new TreeSet<>();
        inputs(phase).stream().filter(in -> !key.isNumber(in)).map(Expr.Input::index).forEach(operands::add);
        operands.addAll(phase.written());
        operands.add(key.single.size() - 2);
        operands.add(key.single.size() - 1);
        return List.copyOf(operands);
    }

    private static List<Expr.Input> inputs(RowProgram.Phase phase) {
        return Program.uses(phase.expressions()).keySet().stream().filter(Expr.Input.class::isInstance).map(Expr.Input.class::cast)
                .sorted(Comparator.comparing(Expr.Input::index)).toList();
    }

    private int numbers() {
        return key.single.size() - 2;
    }

    private int partials() {
        return key.single.size() - 1;
    }

    private void emitPhase() {
        vectors.beginRow();
        for (Expr.Input in : inputs(phase)) {
            boolean number = key.isNumber(in);
            if (number && phase.numbers().stream().noneMatch(computed -> number(computed.number(), in.dtype()).equals(in))) {
                numberAddress(in.index() - key.single.size());
                vectors.load(in.dtype());
                vectors.know(in, vectors.keep());
            } else if (!number && key.isOne(in)) {
                code.lload(pointers.get(in.index()));
                broadcast(in);
            }
        }
        phase.numbers().forEach(this::emitNumber);
        List<Expr> values = values();
        if (!values.isEmpty()) {
            emitElements(values);
        }
    }

    /** What is computed for every element: what is stored, then what is folded. */
    private List<Expr> values() {
        return Stream.concat(phase.stores().stream().map(store -> VectorCode.stored(store.value())), phase.folds().stream().map(RowProgram.Fold::value)).toList();
    }

    private void broadcast(Expr.Input in) {
        vectors.broadcast(in.dtype());
        vectors.know(in, vectors.keep());
    }

    private void emitElements(List<Expr> values) {
        vectors.beginBody(values);
        values.forEach(value -> vectors.hoist(value, key::isOne));
        Map<RowProgram.Fold, int[]> lanes = new HashMap<>();
        List<RowProgram.Fold> sums = phase.folds().stream().filter(fold -> !isExtreme(fold)).toList();
        phase.folds().forEach(fold -> lanes.put(fold, identities(fold)));
        code.iconst_0().istore(index);
        if (sums.isEmpty() || !key.blocks) {
            emitElements(n, lanes);
        } else if (key.chunks == 0) {
            emitBlocks(n, sums, lanes);
        } else {
            int chunk = code.allocateLocal(TypeKind.INT);
            code.iconst_0().istore(chunk);
            forParts(n, Reduction.CHUNK, end -> {
                emitBlocks(end, sums, lanes);
                for (int i = 0; i < sums.size(); i++) {
                    acrossLanes(sums.get(i), lanes.get(sums.get(i)));
                    partial(i, chunk);
                    storeFirst(DType.F32);
                }
                code.iinc(chunk, 1);
            });
            for (int i = 0; i < sums.size(); i++) {
                lanes.put(sums.get(i), emitPartials(sums.get(i), i));
            }
        }
        for (RowProgram.Fold fold : phase.folds()) {
            acrossLanes(fold, lanes.get(fold));
            numberAddress(fold.number());
            vectors.store(DType.F32);
        }
    }

    /** Pushes where a number is. It is there as often as a vector has lanes, as what was stored under a mask is slow to load soon after. */
    private void numberAddress(int number) {
        code.lload(pointers.get(numbers())).loadConstant((long) number * NUMBER_BYTES).ladd();
    }

    private Expr number(int number, DType dtype) {
        return new Expr.Input(key.single.size() + number, dtype);
    }

    private void emitNumber(RowProgram.Computed computed) {
        DType dtype = computed.value().dtype();
        vectors.beginBody(List.of(computed.value()));
        vectors.pushRounded(computed.value());
        int local = vectors.keep();
        vectors.know(number(computed.number(), dtype), local);
        code.aload(local);
        numberAddress(computed.number());
        vectors.store(dtype);
        if (computed.operand() >= 0) {
            code.aload(local).lload(pointers.get(computed.operand()));
            storeFirst(dtype);
        }
    }

    /** Stores the first lane of a vector; vector and address are on the stack. */
    private void storeFirst(DType dtype) {
        vectors.masked(firstLane);
        vectors.store(dtype);
        vectors.masked(VectorCode.NONE);
    }

    /** Pushes the address of what a fold of a phase has for a chunk. */
    private void partial(int fold, int chunk) {
        Loops.address(code, pointers.get(partials()), chunk, DType.F32.bytes());
        code.loadConstant((long) fold * MOST_CHUNKS * DType.F32.bytes()).ladd();
    }

    // ---- parts of a row

    /** {@code while (index < limit) { end = min(index + part, limit); body; }}; the body moves the index to the end. */
    private void forParts(int limit, int part, IntConsumer body) {
        int end = code.allocateLocal(TypeKind.INT);
        Loops.loop(code, index, limit, 0, () -> {
            code.iload(index).loadConstant(part).iadd().iload(limit)
                    .invokestatic(MATH, "min", MethodTypeDesc.of(ConstantDescs.CD_int, ConstantDescs.CD_int, ConstantDescs.CD_int))
                    .istore(end);
            body.accept(end);
        });
    }

    /** Runs to a limit block by block, adding up sums anew in each. */
    private void emitBlocks(int limit, List<RowProgram.Fold> sums, Map<RowProgram.Fold, int[]> lanes) {
        Map<RowProgram.Fold, int[]> totals = new HashMap<>();
        sums.forEach(fold -> totals.put(fold, identities(fold)));
        forParts(limit, Reduction.BLOCK, blockEnd -> {
            sums.forEach(fold -> lanes.put(fold, identities(fold)));
            emitElements(blockEnd, lanes);
            sums.forEach(fold -> {
                for (int i = 0; i < totals.get(fold).length; i++) {
                    code.aload(totals.get(fold)[i]).aload(lanes.get(fold)[i]);
                    combine(fold);
                    code.astore(totals.get(fold)[i]);
                }
            });
        });
        lanes.putAll(totals);
    }

    /** Runs to an end, vector by vector. */
    private void emitElements(int end, Map<RowProgram.Fold, int[]> lanes) {
        List<Expr> values = values();
        forVectors(end, key.rest, Program.codeBytes(values) <= SMALL, mask -> {
            vectors.beginBody(values);
            List<Integer> results = new ArrayList<>();
            for (Expr value : values) {
                vectors.push(value);
                results.add(vectors.keep());
            }
            for (RowProgram.Store store : phase.stores()) {
                DType dtype = store.value().dtype();
                code.aload(results.removeFirst());
                address(store.operand(), dtype);
                vectors.store(dtype);
            }
            for (RowProgram.Fold fold : phase.folds()) {
                take(fold, lanes.get(fold), results.removeFirst(), mask);
            }
        });
    }

    /**
     * {@code for (; index < end; index += vector) body} up to the end of the last vectors that hold all lanes of a reduction. If a rest can be
     * left, the body is given a mask.
     *
     * @param small whether the body may be there twice, to spare whole vectors the mask
     */
    private void forVectors(int end, boolean rest, boolean small, IntConsumer body) {
        bound(index);
        int whole = end;
        if (rest) {
            whole = code.allocateLocal(TypeKind.INT);
            code.iload(end).loadConstant(-FloatReduction.LANES).iand().istore(whole);
        }
        bound(whole);
        if (!rest || small) {
            Loops.loop(code, index, whole, VectorCode.LANES, () -> body.accept(VectorCode.NONE));
        }
        if (rest) {
            int last = code.allocateLocal(TypeKind.INT);
            code.iload(end).loadConstant(FloatReduction.LANES - 1).iadd().loadConstant(-FloatReduction.LANES).iand().istore(last);
            bound(index);
            bound(last);
            Loops.loop(code, index, last, VectorCode.LANES, () -> {
                code.iload(index).iload(end);
                int mask = vectors.first();
                vectors.masked(mask);
                body.accept(mask);
                vectors.masked(VectorCode.NONE);
            });
        }
    }

    /**
     * Tells the compiler that a number of elements is not negative nor large, from which it concludes that all addresses are in range. Where
     * nothing is stored it is not told: it would load many vectors at once, in an order of its own, which is slow from memory.
     */
    private void bound(int local) {
        if (!phase.stores().isEmpty()) {
            code.iload(local).loadConstant(2 * RowProgram.LONGEST - 1).iand().istore(local);
        }
    }

    /** Combines a vector with the lanes that are next, which then are the last: so one body of a loop serves all. */
    private void take(RowProgram.Fold fold, int[] lanes, int value, int mask) {
        code.aload(lanes[0]);
        if (mask == VectorCode.NONE) {
            code.aload(value);
        } else {
            vectors.broadcast(Reduction.identity(fold.kind()));
            code.aload(value).aload(mask);
            vectors.blend();
        }
        combine(fold);
        for (int i = 1; i < lanes.length; i++) {
            code.aload(lanes[i]).astore(lanes[i - 1]);
        }
        code.astore(lanes[lanes.length - 1]);
    }

    private void load(Expr.Input in) {
        address(in.index(), in.dtype());
        vectors.load(in.dtype());
    }

    private void address(int operand, DType dtype) {
        Loops.address(code, pointers.get(operand), index, dtype.bytes());
    }

    // ---- folds

    private static boolean isExtreme(RowProgram.Fold fold) {
        return fold.kind() == Reduce.Kind.MAX || fold.kind() == Reduce.Kind.MIN;
    }

    /** New locals for the lanes of a fold, of nothing so far. */
    private int[] identities(RowProgram.Fold fold) {
        int[] locals = new int[isExtreme(fold) ? EXTREMES : VECTORS];
        for (int i = 0; i < locals.length; i++) {
            vectors.broadcast(Reduction.identity(fold.kind()));
            locals[i] = vectors.keep();
        }
        return locals;
    }

    /** Combines the two vectors on the stack. */
    private void combine(RowProgram.Fold fold) {
        vectors.binary(Reduction.combining(fold.kind()));
    }

    /** Pushes a vector whose every lane is the combination of all lanes: halves with halves, as {@link Reduction} says. */
    private void acrossLanes(RowProgram.Fold fold, int[] lanes) {
        int[] locals = lanes;
        for (int half = lanes.length / 2; half > 0; half /= 2) {
            int[] combined = new int[half];
            for (int i = 0; i < half; i++) {
                code.aload(locals[i]).aload(locals[i + half]);
                combine(fold);
                combined[i] = vectors.keep();
            }
            locals = combined;
        }
        int lane = locals[0];
        for (int half = VectorCode.LANES / 2; half > 0; half /= 2) {
            code.aload(lane).aload(lane);
            vectors.lanes("by" + half, VectorCode.FLOATS, VectorCode.FLOATS);
            combine(fold);
            lane = vectors.keep();
        }
        code.aload(lane);
    }

    /** Folds what the chunks have come to. */
    private int[] emitPartials(RowProgram.Fold fold, int which) {
        int[] lanes = identities(fold);
        int end = code.allocateLocal(TypeKind.INT);
        code.loadConstant(key.chunks).istore(end).iconst_0().istore(index);
        forVectors(end, key.chunks % FloatReduction.LANES != 0, false, mask -> {
            address(partials(), DType.F32);
            code.loadConstant((long) which * MOST_CHUNKS * DType.F32.bytes()).ladd();
            vectors.load(DType.F32);
            take(fold, lanes, vectors.keep(), mask);
        });
        return lanes;
    }
}
