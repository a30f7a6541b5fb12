// Writes the code of a loop over f64, the integers, and what is converted to or from them: Java's own arithmetic.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Expr;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.classfile.Opcode;
import java.lang.classfile.TypeKind;
import java.lang.classfile.instruction.OperatorInstruction;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;

/**
 * Emits {@link Loop#run} for values that are Java's {@code double}, {@code float}, {@code long} or {@code int}; {@code U8}
 * and {@code BOOL} are ints in their range, 16-bit floats are floats.
 */
final class ScalarLoop {
    private static final ClassDesc MEMORY = Memory.class.describeConstable().orElseThrow();
    private static final ClassDesc SCALAR = ScalarMath.class.describeConstable().orElseThrow();
    private static final ClassDesc MATH = Math.class.describeConstable().orElseThrow();
    private static final ClassDesc STRICT = StrictMath.class.describeConstable().orElseThrow();
    private static final ClassDesc LONG = ConstantDescs.CD_long;
    private static final ClassDesc INT = ConstantDescs.CD_int;
    private static final ClassDesc SHORT = ConstantDescs.CD_short;
    private static final ClassDesc FLOAT = ConstantDescs.CD_float;
    private static final ClassDesc DOUBLE = ConstantDescs.CD_double;

    private final CodeBuilder code;
    private final Loops.Elementwise key;
    private final int inputs;
    private final Map<Expr, Integer> uses;
    private final Map<Integer, DType> used = new TreeMap<>();
    private final Map<Integer, Integer> pointers = new HashMap<>();
    private final Map<Integer, Integer> repeated = new HashMap<>();
    private final Map<Expr.Constant, Integer> constants = new HashMap<>();
    private final Map<Expr, Integer> values = new HashMap<>();
    private int index;

    ScalarLoop(CodeBuilder code, Loops.Elementwise key) {
        this.code = code;
        this.key = key;
        this.inputs = key.repeated().size();
        this.uses = Program.uses(key.outputs());
    }

    void emit() {
        for (Expr e : uses.keySet()) {
            if (e instanceof Expr.Input in) {
                used.put(in.index(), in.dtype());
            } else if (e instanceof Expr.Constant c) {
                constants.put(c, -1);
            }
        }
        constants.replaceAll((constant, none) -> constant(constant));
        used.keySet().forEach(input -> pointers.put(input, Loops.pointer(code, input)));
        for (int i = 0; i < key.outputs().size(); i++) {
            pointers.put(inputs + i, Loops.pointer(code, inputs + i));
        }
        int row = code.allocateLocal(TypeKind.INT);
        index = code.allocateLocal(TypeKind.INT);
        code.iconst_0().istore(row);
        Loops.loop(code, row, Loops.ROWS, 1, () -> {
            used.forEach((input, dtype) -> {
                if (key.repeated().get(input)) {
                    code.lload(pointers.get(input));
                    load(dtype);
                    repeated.put(input, keep(dtype));
                }
            });
            code.iconst_0().istore(index);
            Loops.loop(code, index, Loops.N, 1, this::body);
            pointers.forEach((operand, local) -> Loops.advance(code, local, operand));
        });
    }

    private void body() {
        values.clear();
        List<Integer> results = new ArrayList<>();
        for (Expr output : key.outputs()) {
            push(output);
            results.add(keep(output.dtype()));
        }
        for (int i = 0; i < results.size(); i++) {
            DType dtype = key.outputs().get(i).dtype();
            Loops.address(code, pointers.get(inputs + i), index, dtype.bytes());
            code.loadLocal(kind(dtype), results.get(i));
            store(dtype);
        }
    }

    private static TypeKind kind(DType dtype) {
        return switch (dtype) {
            case F64 -> TypeKind.DOUBLE;
            case F32, BF16, F16 -> TypeKind.FLOAT;
            case I64 -> TypeKind.LONG;
            case I32, U8, BOOL -> TypeKind.INT;
        };
    }

    private static ClassDesc type(DType dtype) {
        return kind(dtype).upperBound();
    }

    private int keep(DType dtype) {
        int local = code.allocateLocal(kind(dtype));
        code.storeLocal(kind(dtype), local);
        return local;
    }

    private void call(ClassDesc owner, String name, ClassDesc result, ClassDesc... parameters) {
        code.invokestatic(owner, name, MethodTypeDesc.of(result, parameters));
    }

    private int constant(Expr.Constant constant) {
        code.aload(Loops.CONSTANTS).loadConstant((int) constant.bits()).laload();
        switch (kind(constant.dtype())) {
            case DOUBLE -> call(ConstantDescs.CD_Double, "longBitsToDouble", DOUBLE, LONG);
            case FLOAT -> {
                call(ConstantDescs.CD_Double, "longBitsToDouble", DOUBLE, LONG);
                code.d2f();
            }
            case INT -> code.l2i();
            default -> { }
        }
        return keep(constant.dtype());
    }

    /** Address on the stack to value. */
    private void load(DType dtype) {
        switch (dtype) {
            case F64 -> call(MEMORY, "getDouble", DOUBLE, LONG);
            case F32 -> call(MEMORY, "getFloat", FLOAT, LONG);
            case BF16 -> {
                call(MEMORY, "getShort", SHORT, LONG);
                call(SCALAR, "fromBf16", FLOAT, SHORT);
            }
            case F16 -> {
                call(MEMORY, "getShort", SHORT, LONG);
                call(ConstantDescs.CD_Float, "float16ToFloat", FLOAT, SHORT);
            }
            case I64 -> call(MEMORY, "getLong", LONG, LONG);
            case I32 -> call(MEMORY, "getInt", INT, LONG);
            case U8, BOOL -> {
                call(MEMORY, "getByte", ConstantDescs.CD_byte, LONG);
                code.loadConstant(0xff).iand();
            }
        }
    }

    /** Address and value on the stack. */
    private void store(DType dtype) {
        switch (dtype) {
            case F64 -> call(MEMORY, "putDouble", ConstantDescs.CD_void, LONG, DOUBLE);
            case F32 -> call(MEMORY, "putFloat", ConstantDescs.CD_void, LONG, FLOAT);
            case BF16 -> {
                call(SCALAR, "toBf16", SHORT, FLOAT);
                call(MEMORY, "putShort", ConstantDescs.CD_void, LONG, SHORT);
            }
            case F16 -> {
                call(ConstantDescs.CD_Float, "floatToFloat16", SHORT, FLOAT);
                call(MEMORY, "putShort", ConstantDescs.CD_void, LONG, SHORT);
            }
            case I64 -> call(MEMORY, "putLong", ConstantDescs.CD_void, LONG, LONG);
            case I32 -> call(MEMORY, "putInt", ConstantDescs.CD_void, LONG, INT);
            case U8, BOOL -> {
                code.i2b();
                call(MEMORY, "putByte", ConstantDescs.CD_void, LONG, ConstantDescs.CD_byte);
            }
        }
    }

    // ---- expressions

    private void push(Expr e) {
        Integer local = e instanceof Expr.Constant c ? constants.get(c)
                : e instanceof Expr.Input in && repeated.containsKey(in.index()) ? repeated.get(in.index()) : values.get(e);
        if (local != null) {
            code.loadLocal(kind(e.dtype()), local);
            return;
        }
        if (e instanceof Expr.Input in) {
            Loops.address(code, pointers.get(in.index()), index, in.dtype().bytes());
            load(in.dtype());
        } else {
            Program.operands(e).forEach(this::push);
            switch (e) {
                case Expr.Unary u -> unary(u.op(), u.dtype());
                case Expr.Binary b -> binary(b.op(), b.dtype());
                case Expr.Compare c -> compare(c.op(), kind(c.a().dtype()));
                case Expr.Select s -> call(SCALAR, "select", type(s.dtype()), INT, type(s.dtype()), type(s.dtype()));
                case Expr.Cast c -> cast(c);
                default -> { }
            }
        }
        if (uses.get(e) > 1) {
            values.put(e, keep(e.dtype()));
            code.loadLocal(kind(e.dtype()), values.get(e));
        }
    }

    private void unary(Expr.UnaryOp op, DType dtype) {
        TypeKind kind = kind(dtype);
        ClassDesc type = type(dtype);
        switch (op) {
            case NEG -> code.with(OperatorInstruction.of(switch (kind) {
                case DOUBLE -> Opcode.DNEG;
                case LONG -> Opcode.LNEG;
                default -> Opcode.INEG;
            }));
            case ABS -> call(MATH, "abs", type, type);
            case SIGN -> {
                if (kind == TypeKind.DOUBLE) {
                    call(MATH, "signum", type, type);
                } else {
                    call(kind == TypeKind.LONG ? ConstantDescs.CD_Long : ConstantDescs.CD_Integer, "signum", INT, type);
                    if (kind == TypeKind.LONG) {
                        code.i2l();
                    }
                }
            }
            case NOT -> {
                if (kind == TypeKind.LONG) {
                    code.loadConstant(-1L).lxor();
                } else {
                    code.loadConstant(dtype == DType.BOOL ? 1 : -1).ixor();
                }
            }
            case FLOOR, CEIL, SQRT -> call(MATH, op.name().toLowerCase(Locale.ROOT), DOUBLE, DOUBLE);
            case ROUND -> call(MATH, "rint", DOUBLE, DOUBLE);
            case RSQRT, ERF -> call(SCALAR, op.name().toLowerCase(Locale.ROOT), DOUBLE, DOUBLE);
            case EXP, EXPM1, LOG, LOG1P, SIN, COS, TANH -> call(STRICT, op.name().toLowerCase(Locale.ROOT), DOUBLE, DOUBLE);
        }
        wrap(dtype);
    }

    private void binary(Expr.BinaryOp op, DType dtype) {
        ClassDesc type = type(dtype);
        boolean integer = kind(dtype) == TypeKind.LONG || kind(dtype) == TypeKind.INT;
        switch (op) {
            case ADD -> operate(dtype, Opcode.DADD, Opcode.LADD, Opcode.IADD);
            case SUB -> operate(dtype, Opcode.DSUB, Opcode.LSUB, Opcode.ISUB);
            case MUL -> operate(dtype, Opcode.DMUL, Opcode.LMUL, Opcode.IMUL);
            case AND -> operate(dtype, Opcode.NOP, Opcode.LAND, Opcode.IAND);
            case OR -> operate(dtype, Opcode.NOP, Opcode.LOR, Opcode.IOR);
            case XOR -> operate(dtype, Opcode.NOP, Opcode.LXOR, Opcode.IXOR);
            case MIN, MAX -> call(MATH, op.name().toLowerCase(Locale.ROOT), type, type, type);
            case REMAINDER -> call(SCALAR, "remainder", type, type, type);
            case DIV -> {
                if (integer) {
                    call(SCALAR, "divide", type, type, type);
                } else {
                    code.ddiv();
                }
            }
            case POW -> call(integer ? SCALAR : STRICT, integer ? "power" : "pow", type, type, type);
        }
        wrap(dtype);
    }

    private void operate(DType dtype, Opcode ofDouble, Opcode ofLong, Opcode ofInt) {
        code.with(OperatorInstruction.of(switch (kind(dtype)) {
            case DOUBLE -> ofDouble;
            case LONG -> ofLong;
            default -> ofInt;
        }));
    }

    private void wrap(DType dtype) {
        if (dtype == DType.U8) {
            code.loadConstant(0xff).iand();
        }
    }

    private void compare(Expr.Comparison op, TypeKind kind) {
        Label yes = code.newLabel();
        Label done = code.newLabel();
        switch (kind) { // NaN must compare as false: as less for > and >=, as greater for < and <=
            case DOUBLE -> {
                if (op == Expr.Comparison.GT || op == Expr.Comparison.GE) {
                    code.dcmpl();
                } else {
                    code.dcmpg();
                }
            }
            case LONG -> code.lcmp();
            default -> call(ConstantDescs.CD_Integer, "compare", INT, INT, INT);
        }
        code.branch(switch (op) {
            case EQ -> Opcode.IFEQ;
            case NE -> Opcode.IFNE;
            case LT -> Opcode.IFLT;
            case LE -> Opcode.IFLE;
            case GT -> Opcode.IFGT;
            case GE -> Opcode.IFGE;
        }, yes);
        code.iconst_0().goto_(done).labelBinding(yes).iconst_1().labelBinding(done);
    }

    private void cast(Expr.Cast c) {
        if (Program.isUnrounded(c.a())) {
            round(c.a().dtype());
        }
        TypeKind from = kind(c.a().dtype());
        switch (c.dtype()) {
            case F64, F32, I64, I32 -> code.conversion(from, kind(c.dtype()));
            case BF16, F16 -> {
                code.conversion(from, TypeKind.FLOAT);
                round(c.dtype());
            }
            case U8 -> {
                code.conversion(from, TypeKind.INT);
                wrap(DType.U8);
            }
            case BOOL -> {
                switch (from) {
                    case DOUBLE -> code.dconst_0();
                    case FLOAT -> code.f2d().dconst_0();
                    case LONG -> code.lconst_0();
                    default -> code.iconst_0();
                }
                compare(Expr.Comparison.NE, from == TypeKind.FLOAT ? TypeKind.DOUBLE : from);
            }
        }
    }

    private void round(DType dtype) {
        if (dtype == DType.BF16) {
            call(SCALAR, "toBf16", SHORT, FLOAT);
            call(SCALAR, "fromBf16", FLOAT, SHORT);
        } else {
            call(ConstantDescs.CD_Float, "floatToFloat16", SHORT, FLOAT);
            call(ConstantDescs.CD_Float, "float16ToFloat", FLOAT, SHORT);
        }
    }
}
