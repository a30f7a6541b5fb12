// Writes the code of expressions over f32 lanes: what VectorLoop and RowPhase have in common.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Predicate;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.Vector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * Pushes the values of expressions, each a vector of f32 or a mask. Literals sit in locals for the whole method, what is the same for all
 * elements of a row in locals for the row, and what is used more than once in locals for one body of the loop.
 */
final class VectorCode {
    static final int LANES = Lanes.S.length();
    static final ClassDesc FLOATS = desc(FloatVector.class);
    static final ClassDesc MASK = desc(VectorMask.class);
    private static final ClassDesc VECTOR = desc(Vector.class);
    private static final ClassDesc SPECIES = desc(VectorSpecies.class);
    private static final ClassDesc OPERATORS = desc(VectorOperators.class);
    private static final ClassDesc COMPARISON = desc(VectorOperators.Comparison.class);
    private static final ClassDesc LANES_CLASS = desc(Lanes.class);
    private static final MethodTypeDesc FLOATS_TO_FLOATS = MethodTypeDesc.of(FLOATS, FLOATS);
    private static final MethodTypeDesc UNARY = MethodTypeDesc.of(FLOATS);
    private static final MethodTypeDesc BINARY = MethodTypeDesc.of(FLOATS, VECTOR);
    private static final MethodTypeDesc MASK_UNARY = MethodTypeDesc.of(MASK);
    private static final MethodTypeDesc MASK_BINARY = MethodTypeDesc.of(MASK, MASK);
    /** No mask: all lanes. */
    static final int NONE = -1;

    private final CodeBuilder code;
    private final Map<Expr.Constant, Integer> literals = new HashMap<>();
    private final Consumer<Expr.Input> inputs;
    private final Map<Expr, Integer> row = new HashMap<>();
    private final Map<Expr, Integer> values = new HashMap<>();
    private Map<Expr, Integer> uses = Map.of();
    private int mask = NONE;

    /**
     * Begins a method; its literals are put into locals.
     *
     * @param all every expression that will be pushed, with indices into the constants as its literals
     * @param constants the local with the bits of the literals
     * @param inputs pushes an input that is not the same for a whole row
     */
    VectorCode(CodeBuilder code, List<Expr> all, int constants, Consumer<Expr.Input> inputs) {
        this.code = code;
        this.inputs = inputs;
        for (Expr e : Program.uses(all).keySet()) {
            if (e instanceof Expr.Constant literal) {
                literals.put(literal, emitLiteral(literal, constants));
            }
        }
    }

    private static ClassDesc desc(Class<?> type) {
        return type.describeConstable().orElseThrow();
    }

    private int emitLiteral(Expr.Constant literal, int constants) {
        code.getstatic(LANES_CLASS, "S", SPECIES).aload(constants).loadConstant((int) literal.bits()).laload();
        if (literal.dtype() == DType.BOOL) {
            code.l2i().invokeinterface(SPECIES, "maskAll", MethodTypeDesc.of(MASK, ConstantDescs.CD_boolean));
        } else {
            code.invokestatic(ConstantDescs.CD_Double, "longBitsToDouble",
                            MethodTypeDesc.of(ConstantDescs.CD_double, ConstantDescs.CD_long)).d2f()
                    .invokestatic(FLOATS, "broadcast", MethodTypeDesc.of(FLOATS, SPECIES, ConstantDescs.CD_float));
        }
        return keep();
    }

    /** The type of values of a dtype. */
    private static ClassDesc type(DType dtype) {
        return dtype == DType.BOOL ? MASK : FLOATS;
    }

    /** Puts what is on the stack into a new local. */
    int keep() {
        int local = code.allocateLocal(TypeKind.REFERENCE);
        code.astore(local);
        return local;
    }

    /** From here on, accesses are to the lanes of the mask in a local, or to all if it is {@link #NONE}. */
    void masked(int local) {
        mask = local;
    }

    /** Inserts a method of {@link Lanes}. */
    void lanes(String name, ClassDesc result, ClassDesc... parameters) {
        Inliner.lanes(code, name, MethodTypeDesc.of(result, parameters));
    }

    /** Turns the address on the stack into what is there. */
    void load(DType dtype) {
        access("load" + dtype, type(dtype), ConstantDescs.CD_long);
    }

    /** Stores the value at the address, which are on the stack. */
    void store(DType dtype) {
        access("store" + dtype, ConstantDescs.CD_void, type(dtype), ConstantDescs.CD_long);
    }

    /** Turns the address on the stack into a vector of what is there. */
    void broadcast(DType dtype) {
        lanes("broadcast" + dtype, type(dtype), ConstantDescs.CD_long);
    }

    /** Puts a mask into a new local: of as many lanes as the second int on the stack is above the first. */
    int first() {
        lanes("first", MASK, ConstantDescs.CD_int, ConstantDescs.CD_int);
        return keep();
    }

    private void access(String name, ClassDesc result, ClassDesc... parameters) {
        if (mask == NONE) {
            lanes(name, result, parameters);
        } else {
            code.aload(mask);
            Inliner.lanes(code, name, MethodTypeDesc.of(result, parameters).insertParameterTypes(parameters.length, MASK));
        }
    }

    /** Pushes a vector whose lanes all hold a number. */
    void broadcast(float value) {
        code.getstatic(LANES_CLASS, "S", SPECIES).loadConstant(value)
                .invokestatic(FLOATS, "broadcast", MethodTypeDesc.of(FLOATS, SPECIES, ConstantDescs.CD_float));
    }

    // ---- what is known

    /** Begins a row: nothing is known but literals. */
    void beginRow() {
        row.clear();
        values.clear();
    }

    /** Notes that a local holds a value for the rest of the row. */
    void know(Expr e, int local) {
        row.put(e, local);
    }

    /** Begins a body that pushes some expressions. */
    void beginBody(Collection<Expr> outputs) {
        values.clear();
        uses = Program.uses(List.copyOf(outputs));
    }

    /** Computes what is the same for all elements of a row, before the row, as far as an expression needs it. */
    void hoist(Expr e, Predicate<Expr.Input> same) {
        List<Expr> operands = Program.operands(e);
        if (operands.isEmpty() || row.containsKey(e)) {
            return;
        }
        if (isSame(e, same)) {
            push(e);
            row.put(e, keep());
        } else {
            operands.forEach(operand -> hoist(operand, same));
        }
    }

    private static boolean isSame(Expr e, Predicate<Expr.Input> same) {
        return e instanceof Expr.Input in ? same.test(in) : Program.operands(e).stream().allMatch(operand -> isSame(operand, same));
    }

    /** What to compute for an output: storing rounds, so that a conversion to the stored type is not needed before. */
    static Expr stored(Expr output) {
        boolean rounds = output instanceof Expr.Cast(Expr a, DType to) && a.dtype() == DType.F32 && to != DType.BOOL;
        return rounds ? ((Expr.Cast) output).a() : output;
    }

    // ---- expressions

    /** Pushes the value of an expression. */
    void push(Expr e) {
        if (e instanceof Expr.Constant literal) {
            code.aload(literals.get(literal));
            return;
        }
        Integer known = row.getOrDefault(e, values.get(e));
        if (known != null) {
            code.aload(known);
            return;
        }
        switch (e) {
            case Expr.Input in -> inputs.accept(in);
            case Expr.Constant c -> { }
            case Expr.Unary u -> {
                push(u.a());
                unary(u.op());
            }
            case Expr.Binary b -> {
                push(b.a());
                push(b.b());
                if (b.dtype() == DType.BOOL) {
                    logical(b.op());
                } else {
                    binary(b.op());
                }
            }
            case Expr.Compare c -> {
                push(c.a());
                push(c.b());
                if (c.a().dtype() == DType.BOOL) {
                    compareTruth(c.op());
                } else {
                    code.getstatic(OPERATORS, c.op().name(), COMPARISON);
                    code.swap();
                    code.invokevirtual(FLOATS, "compare", MethodTypeDesc.of(MASK, COMPARISON, VECTOR));
                }
            }
            case Expr.Select s -> select(s);
            case Expr.Cast c -> {
                push(c.a());
                cast(c);
            }
        }
        if (uses.getOrDefault(e, 0) > 1) {
            values.put(e, keep());
            code.aload(values.get(e));
        }
    }

    /** Pushes the value of an expression as it would be read again after storing it. */
    void pushRounded(Expr e) {
        push(e);
        if (Program.isUnrounded(e)) {
            lanes("round" + e.dtype(), FLOATS, FLOATS);
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

    /** Combines the two values on the stack. */
    void binary(Expr.BinaryOp op) {
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

    private void select(Expr.Select s) {
        if (s.dtype() == DType.BOOL) { // b ^ (condition & (a ^ b))
            push(s.b());
            code.dup();
            push(s.a());
            code.invokevirtual(MASK, "xor", MASK_BINARY);
            push(s.condition());
            code.invokevirtual(MASK, "and", MASK_BINARY).invokevirtual(MASK, "xor", MASK_BINARY);
        } else {
            push(s.b());
            push(s.a());
            push(s.condition());
            blend();
        }
    }

    /** Of two vectors and a mask on the stack, the lanes of the second where the mask is set, else of the first. */
    void blend() {
        code.invokevirtual(FLOATS, "blend", MethodTypeDesc.of(FLOATS, VECTOR, MASK));
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
