// Writes the code of a loop over f32 lanes: main loop on whole vectors, the rest of a row under a mask.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.Vector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Emits {@link Loop#run} for values that are vectors of f32 or masks. */
final class VectorLoop {
    private static final int LANES = Lanes.S.length();
    private static final ClassDesc FLOATS = desc(FloatVector.class);
    private static final ClassDesc VECTOR = desc(Vector.class);
    private static final ClassDesc MASK = desc(VectorMask.class);
    private static final ClassDesc SPECIES = desc(VectorSpecies.class);
    private static final ClassDesc OPERATORS = desc(VectorOperators.class);
    private static final ClassDesc COMPARISON = desc(VectorOperators.Comparison.class);
    private static final ClassDesc LANES_CLASS = desc(Lanes.class);
    private static final MethodTypeDesc FLOATS_TO_FLOATS = MethodTypeDesc.of(FLOATS, FLOATS);
    private static final MethodTypeDesc UNARY = MethodTypeDesc.of(FLOATS);
    private static final MethodTypeDesc BINARY = MethodTypeDesc.of(FLOATS, VECTOR);
    private static final MethodTypeDesc MASK_UNARY = MethodTypeDesc.of(MASK);
    private static final MethodTypeDesc MASK_BINARY = MethodTypeDesc.of(MASK, MASK);

    private final CodeBuilder code;
    private final Loops.Key key;
    private final int inputs;
    private final Map<Integer, Expr.Input> used = new TreeMap<>();
    private final Map<Expr.Constant, Integer> constants = new HashMap<>();
    private final Map<Integer, Integer> pointers = new HashMap<>();
    private final Map<Integer, Integer> repeated = new HashMap<>();
    private final Map<Expr, Integer> uses;
    private final Map<Expr, Integer> hoisted = new HashMap<>();
    private final Map<Expr, Integer> values = new HashMap<>();
    private int index;
    private int mask;

    VectorLoop(CodeBuilder code, Loops.Key key) {
        this.code = code;
        this.key = key;
        this.inputs = key.repeated().size();
        this.uses = Program.uses(key.outputs());
    }

    private static ClassDesc desc(Class<?> type) {
        return type.describeConstable().orElseThrow();
    }

    void emit() {
        uses.keySet().forEach(this::collect);
        constants.replaceAll((constant, none) -> emitConstant(constant));
        used.keySet().forEach(input -> pointers.put(input, Loops.pointer(code, input)));
        for (int i = 0; i < key.outputs().size(); i++) {
            pointers.put(inputs + i, Loops.pointer(code, inputs + i));
        }
        int row = code.allocateLocal(TypeKind.INT);
        index = code.allocateLocal(TypeKind.INT);
        code.iconst_0().istore(row);
        Loops.loop(code, row, Loops.ROWS, 1, () -> {
            emitRow();
            pointers.forEach((operand, local) -> Loops.advance(code, local, operand));
        });
    }

    private void collect(Expr e) {
        if (e instanceof Expr.Input in) {
            used.put(in.index(), in);
        } else if (e instanceof Expr.Constant c) {
            constants.put(c, -1);
        }
    }

    private void emitRow() {
        used.forEach((input, e) -> {
            if (key.repeated().get(input)) {
                code.lload(pointers.get(input));
                lanes("broadcast" + e.dtype(), type(e.dtype()), ConstantDescs.CD_long);
                repeated.put(input, keep());
            }
        });
        key.outputs().forEach(output -> hoist(stored(output)));
        code.iconst_0().istore(index);
        if (key.whole()) {
            int limit = code.allocateLocal(TypeKind.INT);
            code.iload(Loops.N).loadConstant(-LANES).iand().istore(limit);
            Loops.loop(code, index, limit, LANES, () -> emitBody(false));
        }
        if (key.rest()) {
            Loops.loop(code, index, Loops.N, LANES, () -> {
                code.iload(index).iload(Loops.N);
                lanes("first", MASK, ConstantDescs.CD_int, ConstantDescs.CD_int);
                mask = keep();
                emitBody(true);
            });
        }
    }

    /** Computes what is the same for all elements of a row, before the row. */
    private void hoist(Expr e) {
        List<Expr> operands = Program.operands(e);
        if (operands.isEmpty() || hoisted.containsKey(e)) {
            return;
        }
        if (isSame(e)) {
            push(e, false);
            hoisted.put(e, keep());
        } else {
            operands.forEach(this::hoist);
        }
    }

    private boolean isSame(Expr e) {
        return e instanceof Expr.Input in ? key.repeated().get(in.index()) : Program.operands(e).stream().allMatch(this::isSame);
    }

    /** Computes all outputs of the elements from {@code index} on, then stores them. */
    private void emitBody(boolean masked) {
        values.clear();
        List<Integer> results = new ArrayList<>();
        for (Expr output : key.outputs()) {
            push(stored(output), masked);
            results.add(keep());
        }
        for (int i = 0; i < results.size(); i++) {
            DType dtype = key.outputs().get(i).dtype();
            code.aload(results.get(i));
            Loops.address(code, pointers.get(inputs + i), index, dtype.bytes());
            access("store" + dtype, ConstantDescs.CD_void, masked, type(dtype), ConstantDescs.CD_long);
        }
    }

    /** What to compute for an output: storing rounds, so that a conversion to the stored type is not needed before. */
    private static Expr stored(Expr output) {
        boolean rounds = output instanceof Expr.Cast(Expr a, DType to) && a.dtype() == DType.F32 && to != DType.BOOL;
        return rounds ? ((Expr.Cast) output).a() : output;
    }

    private int keep() {
        int local = code.allocateLocal(TypeKind.REFERENCE);
        code.astore(local);
        return local;
    }

    private static ClassDesc type(DType dtype) {
        return dtype == DType.BOOL ? MASK : FLOATS;
    }

    private void lanes(String name, ClassDesc result, ClassDesc... parameters) {
        Inliner.lanes(code, name, MethodTypeDesc.of(result, parameters));
    }

    private void access(String name, ClassDesc result, boolean masked, ClassDesc... parameters) {
        if (masked) {
            code.aload(mask);
            Inliner.lanes(code, name, MethodTypeDesc.of(result, parameters).insertParameterTypes(parameters.length, MASK));
        } else {
            lanes(name, result, parameters);
        }
    }

    private int emitConstant(Expr.Constant constant) {
        code.getstatic(LANES_CLASS, "S", SPECIES).aload(Loops.CONSTANTS).loadConstant((int) constant.bits()).laload();
        if (constant.dtype() == DType.BOOL) {
            code.l2i().invokeinterface(SPECIES, "maskAll", MethodTypeDesc.of(MASK, ConstantDescs.CD_boolean));
        } else {
            code.invokestatic(ConstantDescs.CD_Double, "longBitsToDouble",
                            MethodTypeDesc.of(ConstantDescs.CD_double, ConstantDescs.CD_long)).d2f()
                    .invokestatic(FLOATS, "broadcast", MethodTypeDesc.of(FLOATS, SPECIES, ConstantDescs.CD_float));
        }
        return keep();
    }

    // ---- expressions

    private void push(Expr e, boolean masked) {
        if (e instanceof Expr.Constant c) {
            code.aload(constants.get(c));
            return;
        }
        if (e instanceof Expr.Input in && repeated.containsKey(in.index())) {
            code.aload(repeated.get(in.index()));
            return;
        }
        Integer known = hoisted.getOrDefault(e, values.get(e));
        if (known != null) {
            code.aload(known);
            return;
        }
        switch (e) {
            case Expr.Input in -> {
                Loops.address(code, pointers.get(in.index()), index, in.dtype().bytes());
                access("load" + in.dtype(), type(in.dtype()), masked, ConstantDescs.CD_long);
            }
            case Expr.Constant c -> { }
            case Expr.Unary u -> {
                push(u.a(), masked);
                unary(u.op());
            }
            case Expr.Binary b -> {
                push(b.a(), masked);
                push(b.b(), masked);
                if (b.dtype() == DType.BOOL) {
                    logical(b.op());
                } else {
                    binary(b.op());
                }
            }
            case Expr.Compare c -> {
                push(c.a(), masked);
                push(c.b(), masked);
                if (c.a().dtype() == DType.BOOL) {
                    compareTruth(c.op());
                } else {
                    code.getstatic(OPERATORS, c.op().name(), COMPARISON);
                    code.swap();
                    code.invokevirtual(FLOATS, "compare", MethodTypeDesc.of(MASK, COMPARISON, VECTOR));
                }
            }
            case Expr.Select s -> select(s, masked);
            case Expr.Cast c -> {
                push(c.a(), masked);
                cast(c);
            }
        }
        if (uses.getOrDefault(e, 0) > 1) {
            values.put(e, keep());
            code.aload(values.get(e));
        }
    }

    private void unary(Expr.UnaryOp op) {
        switch (op) {
            case NEG -> code.invokevirtual(FLOATS, "neg", UNARY);
            case ABS -> code.invokevirtual(FLOATS, "abs", UNARY);
            case SQRT -> code.invokevirtual(FLOATS, "sqrt", UNARY);
            case NOT -> code.invokevirtual(MASK, "not", MASK_UNARY);
            default -> Inliner.math(code, op.name().toLowerCase(Locale.ROOT), FLOATS_TO_FLOATS);
        }
    }

    private void binary(Expr.BinaryOp op) {
        switch (op) {
            case ADD -> code.invokevirtual(FLOATS, "add", BINARY);
            case SUB -> code.invokevirtual(FLOATS, "sub", BINARY);
            case MUL -> code.invokevirtual(FLOATS, "mul", BINARY);
            case DIV -> code.invokevirtual(FLOATS, "div", BINARY);
            case MIN -> code.invokevirtual(FLOATS, "min", BINARY);
            case MAX -> code.invokevirtual(FLOATS, "max", BINARY);
            case POW -> Inliner.math(code, "pow", MethodTypeDesc.of(FLOATS, FLOATS, FLOATS));
            case REMAINDER, AND, OR, XOR -> throw new IllegalStateException("vector loop: " + op + " of floats");
        }
    }

    private void logical(Expr.BinaryOp op) {
        switch (op) {
            case AND, MIN -> code.invokevirtual(MASK, "and", MASK_BINARY);
            case OR, MAX -> code.invokevirtual(MASK, "or", MASK_BINARY);
            case XOR -> code.invokevirtual(MASK, "xor", MASK_BINARY);
            default -> throw new IllegalStateException("vector loop: " + op + " of truth values");
        }
    }

    /** Truth values are ordered: false before true. */
    private void compareTruth(Expr.Comparison op) {
        switch (op) {
            case EQ -> code.invokevirtual(MASK, "eq", MASK_BINARY);
            case NE -> code.invokevirtual(MASK, "xor", MASK_BINARY);
            case LT -> code.swap().invokevirtual(MASK, "andNot", MASK_BINARY);
            case LE -> code.swap().invokevirtual(MASK, "not", MASK_UNARY).invokevirtual(MASK, "or", MASK_BINARY);
            case GT -> code.invokevirtual(MASK, "andNot", MASK_BINARY);
            case GE -> code.invokevirtual(MASK, "not", MASK_UNARY).invokevirtual(MASK, "or", MASK_BINARY);
        }
    }

    private void select(Expr.Select s, boolean masked) {
        if (s.dtype() == DType.BOOL) { // b ^ (condition & (a ^ b))
            push(s.b(), masked);
            code.dup();
            push(s.a(), masked);
            code.invokevirtual(MASK, "xor", MASK_BINARY);
            push(s.condition(), masked);
            code.invokevirtual(MASK, "and", MASK_BINARY).invokevirtual(MASK, "xor", MASK_BINARY);
        } else {
            push(s.b(), masked);
            push(s.a(), masked);
            push(s.condition(), masked);
            code.invokevirtual(FLOATS, "blend", MethodTypeDesc.of(FLOATS, VECTOR, MASK));
        }
    }

    private void cast(Expr.Cast c) {
        Expr a = c.a();
        DType to = c.dtype();
        if (a.dtype() == to || a.dtype() == DType.U8) { // u8 is read as floats
            return;
        }
        if (a.dtype() == DType.BOOL) {
            lanes("fromMask", FLOATS, MASK);
            return;
        }
        if (Program.isUnrounded(a)) {
            lanes("round" + a.dtype(), FLOATS, FLOATS);
        }
        if (to == DType.BOOL) {
            lanes("toMask", MASK, FLOATS);
        } else if (to != DType.F32) {
            lanes("round" + to, FLOATS, FLOATS);
        }
    }
}
