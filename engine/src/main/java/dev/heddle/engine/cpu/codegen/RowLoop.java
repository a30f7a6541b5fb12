// Writes the code of a row program: for every row phase after phase, each one loop over the row.
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
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntConsumer;

/**
 * Emits {@link Loop#run} for a {@link RowProgram}. Sums and their like combine elements in the order that {@link Reduction} gives, so they
 * have the same bits as if they were reduced by themselves.
 */
final class RowLoop {
    private static final ClassDesc MATH = ClassDesc.of("java.lang.Math");
    private static final int VECTORS = FloatReduction.LANES / VectorCode.LANES; // that hold all lanes of a reduction
    private static final int MOST_CHUNKS = RowProgram.LONGEST / Reduction.CHUNK;

    /**
     * What distinguishes such loops.
     *
     * @param single for each operand, whether it has one element a row
     * @param whole whether there are as many elements as a reduction has lanes
     * @param rest whether their number is no multiple of that
     * @param blocks whether there are several blocks
     * @param chunks how many chunks there are if several, else 0
     */
    record Key(List<RowProgram.Phase> phases, List<Boolean> single, boolean whole, boolean rest, boolean blocks, int chunks) implements Loops.Key {
        @Override
        public void emit(CodeBuilder code) {
            new RowLoop(code, this).emit();
        }
    }

    private final CodeBuilder code;
    private final Key key;
    private final VectorCode vectors;
    private final Map<Integer, Integer> pointers = new TreeMap<>(); // by operand: locals
    private int index;
    private int offset; // of the vector that is run over, behind the index
    private int firstLane; // a mask

    private RowLoop(CodeBuilder code, Key key) {
        this.code = code;
        this.key = key;
        vectors = new VectorCode(code, key.phases.stream().flatMap(phase -> phase.expressions().stream()).toList(), this::load);
    }

    static Key key(List<RowProgram.Phase> phases, List<Boolean> single, int n) {
        int chunks = (n + Reduction.CHUNK - 1) / Reduction.CHUNK;
        return new Key(phases, single, n >= FloatReduction.LANES, n % FloatReduction.LANES != 0, n > Reduction.BLOCK, chunks > 1 ? chunks : 0);
    }

    /** How often the code of an expression appears, for rows of {@code n} elements. */
    static int copies(int n) {
        return VECTORS * ((n >= FloatReduction.LANES ? 1 : 0) + (n % FloatReduction.LANES != 0 ? 1 : 0));
    }

    private void emit() {
        List<Expr> all = key.phases.stream().flatMap(phase -> phase.expressions().stream()).toList();
        Map<Integer, Expr.Input> singles = new TreeMap<>();
        for (Expr e : Program.uses(all).keySet()) {
            if (e instanceof Expr.Input in && in.index() < key.single.size()) {
                point(in.index());
                if (key.single.get(in.index())) {
                    singles.put(in.index(), in);
                }
            }
        }
        for (RowProgram.Phase phase : key.phases) {
            phase.stores().forEach(store -> point(store.operand()));
            phase.numbers().stream().filter(number -> number.operand() >= 0).forEach(number -> point(number.operand()));
        }
        if (key.chunks > 0) {
            point(partials());
        }
        code.iconst_0().iconst_1();
        vectors.lanes("first", VectorCode.MASK, ConstantDescs.CD_int, ConstantDescs.CD_int);
        firstLane = vectors.keep();
        int row = code.allocateLocal(TypeKind.INT);
        index = code.allocateLocal(TypeKind.INT);
        code.iconst_0().istore(row);
        Loops.loop(code, row, Loops.ROWS, 1, () -> {
            vectors.beginRow();
            singles.forEach((operand, in) -> {
                code.lload(pointers.get(operand));
                vectors.lanes("broadcast" + in.dtype(), VectorCode.type(in.dtype()), ConstantDescs.CD_long);
                vectors.know(in, vectors.keep());
            });
            key.phases.forEach(this::emitPhase);
            pointers.forEach((operand, local) -> Loops.advance(code, local, operand));
        });
    }

    private void point(int operand) {
        if (!pointers.containsKey(operand)) {
            pointers.put(operand, Loops.pointer(code, operand));
        }
    }

    private int partials() {
        return key.single.size() - 1;
    }

    private void emitPhase(RowProgram.Phase phase) {
        phase.numbers().forEach(this::emitNumber);
        List<Expr> values = new ArrayList<>();
        phase.stores().forEach(store -> values.add(VectorCode.stored(store.value())));
        phase.folds().forEach(fold -> values.add(fold.value()));
        if (values.isEmpty()) {
            return;
        }
        vectors.beginBody(values);
        values.forEach(value -> vectors.hoist(value, in -> in.index() >= key.single.size() || key.single.get(in.index())));
        Map<RowProgram.Fold, int[]> lanes = new HashMap<>();
        List<RowProgram.Fold> sums = phase.folds().stream().filter(fold -> !isExtreme(fold)).toList();
        phase.folds().forEach(fold -> lanes.put(fold, identities(fold)));
        code.iconst_0().istore(index);
        if (sums.isEmpty() || !key.blocks) {
            emitElements(Loops.N, key.whole, key.rest, end -> emitBody(phase, lanes, end));
        } else if (key.chunks == 0) {
            emitBlocks(Loops.N, phase, sums, lanes);
        } else {
            int chunk = code.allocateLocal(TypeKind.INT);
            code.iconst_0().istore(chunk);
            forParts(Loops.N, Reduction.CHUNK, end -> {
                emitBlocks(end, phase, sums, lanes);
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
            vectors.know(number(fold.number(), DType.F32), vectors.keep());
        }
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
        if (computed.operand() >= 0) {
            code.aload(local).lload(pointers.get(computed.operand()));
            storeFirst(dtype);
        }
    }

    /** Stores the first lane of a vector; vector and address are on the stack. */
    private void storeFirst(DType dtype) {
        vectors.masked(firstLane);
        vectors.access("store" + dtype, ConstantDescs.CD_void, VectorCode.type(dtype), ConstantDescs.CD_long);
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
    private void emitBlocks(int limit, RowProgram.Phase phase, List<RowProgram.Fold> sums, Map<RowProgram.Fold, int[]> lanes) {
        Map<RowProgram.Fold, int[]> totals = new HashMap<>();
        sums.forEach(fold -> totals.put(fold, identities(fold)));
        forParts(limit, Reduction.BLOCK, blockEnd -> {
            sums.forEach(fold -> lanes.put(fold, identities(fold)));
            emitElements(blockEnd, key.whole, key.rest, end -> emitBody(phase, lanes, end));
            sums.forEach(fold -> {
                for (int i = 0; i < VECTORS; i++) {
                    code.aload(totals.get(fold)[i]).aload(lanes.get(fold)[i]);
                    combine(fold);
                    code.astore(totals.get(fold)[i]);
                }
            });
        });
        lanes.putAll(totals);
    }

    /**
     * Runs to an end, by as many elements at once as there are lanes.
     *
     * @param whole whether there can be so many
     * @param rest whether fewer can be left
     * @param body given the end if it must be heeded, else {@link VectorCode#NONE}
     */
    private void emitElements(int end, boolean whole, boolean rest, IntConsumer body) {
        if (whole) {
            int limit = code.allocateLocal(TypeKind.INT);
            code.iload(end).loadConstant(-FloatReduction.LANES).iand().istore(limit);
            Loops.loop(code, index, limit, FloatReduction.LANES, () -> body.accept(VectorCode.NONE));
        }
        if (rest) {
            Loops.loop(code, index, end, FloatReduction.LANES, () -> body.accept(end));
        }
    }

    /** Computes what a phase stores and folds, of the elements from the index on. */
    private void emitBody(RowProgram.Phase phase, Map<RowProgram.Fold, int[]> lanes, int end) {
        List<Expr> values = new ArrayList<>();
        phase.stores().forEach(store -> values.add(VectorCode.stored(store.value())));
        phase.folds().forEach(fold -> values.add(fold.value()));
        for (int i = 0; i < VECTORS; i++) {
            int mask = begin(i, end);
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
                vectors.access("store" + dtype, ConstantDescs.CD_void, VectorCode.type(dtype), ConstantDescs.CD_long);
            }
            for (RowProgram.Fold fold : phase.folds()) {
                code.aload(lanes.get(fold)[i]);
                take(fold, results.removeFirst(), mask);
                combine(fold);
                code.astore(lanes.get(fold)[i]);
            }
            vectors.masked(VectorCode.NONE);
        }
    }

    /** Turns to one of the vectors that are run over at once; returns the local of its mask. */
    private int begin(int vector, int end) {
        offset = vector * VectorCode.LANES;
        if (end == VectorCode.NONE) {
            return VectorCode.NONE;
        }
        code.iload(index).loadConstant(offset).iadd().iload(end);
        vectors.lanes("first", VectorCode.MASK, ConstantDescs.CD_int, ConstantDescs.CD_int);
        int mask = vectors.keep();
        vectors.masked(mask);
        return mask;
    }

    /** Pushes a vector to be folded, with the identity where its mask is not set. */
    private void take(RowProgram.Fold fold, int value, int mask) {
        if (mask == VectorCode.NONE) {
            code.aload(value);
        } else {
            vectors.broadcast(identity(fold));
            code.aload(value).aload(mask);
            vectors.blend();
        }
    }

    private void load(Expr.Input in) {
        address(in.index(), in.dtype());
        vectors.access("load" + in.dtype(), VectorCode.type(in.dtype()), ConstantDescs.CD_long);
    }

    private void address(int operand, DType dtype) {
        Loops.address(code, pointers.get(operand), index, dtype.bytes());
        if (offset > 0) {
            code.loadConstant((long) offset * dtype.bytes()).ladd();
        }
    }

    // ---- folds

    private static boolean isExtreme(RowProgram.Fold fold) {
        return fold.kind() == Reduce.Kind.MAX || fold.kind() == Reduce.Kind.MIN;
    }

    private static float identity(RowProgram.Fold fold) {
        return switch (fold.kind()) {
            case SUM -> 0;
            case PROD -> 1;
            case MAX -> Float.NEGATIVE_INFINITY;
            case MIN -> Float.POSITIVE_INFINITY;
            default -> throw new IllegalStateException("row loop: " + fold.kind());
        };
    }

    /** New locals that hold all lanes of a fold of nothing. */
    private int[] identities(RowProgram.Fold fold) {
        int[] locals = new int[VECTORS];
        for (int i = 0; i < VECTORS; i++) {
            vectors.broadcast(identity(fold));
            locals[i] = vectors.keep();
        }
        return locals;
    }

    /** Combines the two vectors on the stack. */
    private void combine(RowProgram.Fold fold) {
        vectors.binary(switch (fold.kind()) {
            case SUM -> Expr.BinaryOp.ADD;
            case PROD -> Expr.BinaryOp.MUL;
            case MAX -> Expr.BinaryOp.MAX;
            default -> Expr.BinaryOp.MIN;
        });
    }

    /** Pushes a vector whose every lane is the combination of all lanes: halves with halves, as {@link Reduction} says. */
    private void acrossLanes(RowProgram.Fold fold, int[] lanes) {
        int[] locals = lanes;
        for (int half = VECTORS / 2; half > 0; half /= 2) {
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
        emitElements(end, key.chunks >= FloatReduction.LANES, key.chunks % FloatReduction.LANES != 0, rest -> {
            for (int i = 0; i < VECTORS; i++) {
                int mask = begin(i, rest);
                address(partials(), DType.F32);
                code.loadConstant((long) which * MOST_CHUNKS * DType.F32.bytes()).ladd();
                vectors.access("loadF32", VectorCode.FLOATS, ConstantDescs.CD_long);
                int value = vectors.keep();
                code.aload(lanes[i]);
                take(fold, value, mask);
                combine(fold);
                code.astore(lanes[i]);
                vectors.masked(VectorCode.NONE);
            }
        });
        return lanes;
    }
}
