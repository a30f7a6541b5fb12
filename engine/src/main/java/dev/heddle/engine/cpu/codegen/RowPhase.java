// Writes the code of a phase of a row program: a loop over the elements of one row.
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
import java.util.TreeSet;
import java.util.function.IntConsumer;
import java.util.stream.Stream;

/**
 * Emits first the numbers that a phase computes, then what it does to every element. Sums and their like combine elements in the order that
 * {@link Reduction} gives, so they have the same bits as if they were reduced by themselves.
 */
final class RowPhase {
    private static final ClassDesc MATH = ClassDesc.of("java.lang.Math");
    private static final int VECTORS = FloatReduction.LANES / VectorCode.LANES; // that hold all lanes of a reduction
    private static final int EXTREMES = 4; // vectors of maxima: one would wait a dozen cycles for itself, and their order does not matter
    private static final int SMALL = 250; // bytes of a body that may be there twice
    static final int NUMBER_BYTES = VectorCode.LANES * DType.F32.bytes();
    static final int MOST_CHUNKS = RowProgram.LONGEST / Reduction.CHUNK;

    private final CodeBuilder code;
    private final RowLoop loop;
    private final RowProgram.Phase phase;
    private final VectorCode vectors;
    private final Map<Integer, Integer> pointers; // by operand: locals
    private final int n; // a local
    private final int index;
    private final int firstLane; // a mask

    RowPhase(CodeBuilder code, RowLoop loop, RowProgram.Phase phase, Map<Integer, Integer> pointers, int constants, int n) {
        this.code = code;
        this.loop = loop;
        this.phase = phase;
        this.pointers = pointers;
        this.n = n;
        vectors = new VectorCode(code, phase.expressions(), constants, this::load);
        index = code.allocateLocal(TypeKind.INT);
        code.iconst_0().iconst_1();
        firstLane = vectors.first();
    }

    /** The operands that a phase needs, ascending, of this row and then of the row before, and always the rows of numbers and of chunks. */
    static List<Integer> operands(RowLoop loop, RowProgram.Phase phase) {
        Set<Integer> operands = new TreeSet<>();
        inputs(phase).stream().filter(in -> !loop.isNumber(in)).map(Expr.Input::index).forEach(operands::add);
        operands.addAll(phase.written());
        operands.add(loop.numbers());
        operands.add(loop.partials());
        return List.copyOf(operands);
    }

    private static List<Expr.Input> inputs(RowProgram.Phase phase) {
        return Program.uses(phase.expressions()).keySet().stream().filter(Expr.Input.class::isInstance).map(Expr.Input.class::cast)
                .sorted(Comparator.comparing(Expr.Input::index)).toList();
    }

    void emit() {
        vectors.beginRow();
        for (Expr.Input in : inputs(phase)) {
            boolean number = loop.isNumber(in);
            if (number && phase.numbers().stream().noneMatch(computed -> number(computed.number(), in.dtype()).equals(in))) {
                numberAddress(in.index() - loop.single().size());
                vectors.load(in.dtype());
                vectors.know(in, vectors.keep());
            } else if (!number && loop.isOne(in)) {
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
        values.forEach(value -> vectors.hoist(value, loop::isOne));
        Map<RowProgram.Fold, int[]> lanes = new HashMap<>();
        List<RowProgram.Fold> sums = phase.folds().stream().filter(fold -> !isExtreme(fold)).toList();
        phase.folds().forEach(fold -> lanes.put(fold, identities(fold)));
        code.iconst_0().istore(index);
        if (sums.isEmpty() || !loop.blocks()) {
            emitElements(n, lanes);
        } else if (loop.chunks() == 0) {
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
        code.lload(pointers.get(loop.numbers())).loadConstant((long) number * NUMBER_BYTES).ladd();
    }

    private Expr number(int number, DType dtype) {
        return new Expr.Input(loop.single().size() + number, dtype);
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
        Loops.address(code, pointers.get(loop.partials()), chunk, DType.F32.bytes());
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
        forVectors(end, loop.rest(), Program.codeBytes(values) <= SMALL, mask -> {
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
        code.loadConstant(loop.chunks()).istore(end).iconst_0().istore(index);
        forVectors(end, loop.chunks() % FloatReduction.LANES != 0, false, mask -> {
            address(loop.partials(), DType.F32);
            code.loadConstant((long) which * MOST_CHUNKS * DType.F32.bytes()).ladd();
            vectors.load(DType.F32);
            take(fold, lanes, vectors.keep(), mask);
        });
        return lanes;
    }
}
