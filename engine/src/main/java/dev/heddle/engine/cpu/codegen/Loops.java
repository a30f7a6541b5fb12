// Generates the class of a loop, once for every distinct program, and keeps the most recent ones.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Expr;
import java.lang.classfile.ClassBuilder;
import java.lang.classfile.ClassFile;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.Label;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** The loops generated so far. */
final class Loops {
    private static final int KEPT = 1024;
    private static final ClassDesc TYPE = ClassDesc.of("dev.heddle.engine.cpu.codegen.GeneratedLoop");

    /** Parameters of {@link Loop#run}, after {@code this}. */
    static final int AT = 1;
    static final int STEP = 2;
    static final int CONSTANTS = 3;
    static final int ROWS = 4;
    static final int N = 5;

    /** What distinguishes loops: equal ones share their code. */
    interface Key {
        /** Writes the body of {@link Loop#run}, of a class that calls itself {@code self}; it need not return. */
        void emit(ClassDesc self, CodeBuilder code);

        /** How many static methods there are besides, called {@link Loops#part}. */
        default int parts() {
            return 0;
        }

        /** What such a method takes. */
        default MethodTypeDesc part(int part) {
            throw new IllegalArgumentException("loop: part " + part);
        }

        /** Writes the body of such a method; it need not return. */
        default void emitPart(int part, CodeBuilder code) {
            throw new IllegalArgumentException("loop: part " + part);
        }
    }

    /**
     * A loop that computes expressions.
     *
     * @param vector whether the loop is made of vectors
     * @param outputs a {@link Program}'s expressions
     * @param repeated for each input, whether it is one element a row, otherwise it is contiguous
     * @param whole for vectors: whether to have a loop over whole vectors
     * @param rest for vectors: whether to have one over what is left, under a mask
     */
    record Elementwise(boolean vector, List<Expr> outputs, List<Boolean> repeated, boolean whole, boolean rest) implements Key {
        @Override
        public void emit(ClassDesc self, CodeBuilder code) {
            if (vector) {
                new VectorLoop(code, this).emit();
            } else {
                new ScalarLoop(code, this).emit();
            }
        }
    }

    /** A loop as all that run it share it, so that one of them can replace it for all. */
    static final class Shared {
        private final Key key;
        private volatile Loop loop;

        private Shared(Key key) {
            this.key = key;
            loop = generate(key);
        }

        Loop loop() {
            return loop;
        }

        /** Whether it calls methods of its own. */
        boolean hasParts() {
            return key.parts() > 0;
        }

        /** Puts a new class of the same code in the place of a loop, unless somebody has done so already. */
        synchronized void replace(Loop old) {
            if (loop == old) {
                loop = generate(key);
            }
        }
    }

    private static final Map<Key, Shared> LOOPS = new LinkedHashMap<>(64, 0.75f, true) {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, Shared> eldest) {
            return size() > KEPT;
        }
    };

    private Loops() {}

    /** The name of a static method besides {@code run}. */
    static String part(int part) {
        return "part" + part;
    }

    /** The loop for a key. */
    static synchronized Shared of(Key key) {
        Shared shared = LOOPS.get(key);
        if (shared == null) {
            shared = new Shared(key);
            LOOPS.put(key, shared);
        }
        return shared;
    }

    private static Loop generate(Key key) {
        return define(Loop.class, code -> key.emit(TYPE, code), type -> {
            for (int i = 0; i < key.parts(); i++) {
                int part = i;
                type.withMethodBody(part(part), key.part(part), ClassFile.ACC_PRIVATE | ClassFile.ACC_STATIC, code -> {
                    key.emitPart(part, code);
                    code.return_();
                });
            }
        });
    }

    /** An object of a new class that implements the contract's one abstract method, {@code run}; the code need not return. */
    static <T> T define(Class<T> contract, Consumer<CodeBuilder> emit) {
        return define(contract, emit, none -> { });
    }

    private static <T> T define(Class<T> contract, Consumer<CodeBuilder> emit, Consumer<ClassBuilder> more) {
        try {
            Method run = Arrays.stream(contract.getDeclaredMethods()).filter(method -> Modifier.isAbstract(method.getModifiers()))
                    .findFirst().orElseThrow();
            MethodTypeDesc signature = MethodType.methodType(run.getReturnType(), run.getParameterTypes())
                    .describeConstable().orElseThrow();
            byte[] bytes = ClassFile.of().build(TYPE, type -> more.accept(type
                    .withInterfaceSymbols(contract.describeConstable().orElseThrow())
                    .withFlags(ClassFile.ACC_FINAL | ClassFile.ACC_SYNTHETIC)
                    .withMethodBody(ConstantDescs.INIT_NAME, ConstantDescs.MTD_void, 0, code -> code
                            .aload(0)
                            .invokespecial(ConstantDescs.CD_Object, ConstantDescs.INIT_NAME, ConstantDescs.MTD_void)
                            .return_())
                    .withMethodBody(run.getName(), signature, ClassFile.ACC_PUBLIC, code -> {
                        emit.accept(code);
                        code.return_();
                    })));
            MethodHandles.Lookup lookup = MethodHandles.lookup().defineHiddenClass(bytes, true);
            return contract.cast(lookup.findConstructor(lookup.lookupClass(), MethodType.methodType(void.class)).invoke());
        } catch (Throwable e) {
            throw new IllegalStateException("code generation: cannot define a " + contract.getSimpleName(), e);
        }
    }

    // ---- what all kinds of loop are built of

    /** Sums of pointers under this mask and offsets stay within {@link Memory#ADDRESS}. */
    static final long POINTER = Memory.ADDRESS >> 1;

    /** {@code for (int index = local; index < limit; index += step) body}. */
    static void loop(CodeBuilder code, int index, int limit, int step, Runnable body) {
        Label test = code.newLabel();
        Label top = code.newLabel();
        code.goto_(test).labelBinding(top);
        body.run();
        code.iinc(index, step).labelBinding(test).iload(index).iload(limit).if_icmplt(top);
    }

    /** Pushes {@code local + ((long) index << shift)}. */
    static void address(CodeBuilder code, int local, int index, int bytes) {
        code.lload(local).iload(index).i2l();
        if (bytes > 1) {
            code.loadConstant(Integer.numberOfTrailingZeros(bytes)).lshl();
        }
        code.ladd();
    }

    /** {@code local = at[operand]}, in a new local. */
    static int pointer(CodeBuilder code, int operand) {
        int local = code.allocateLocal(TypeKind.LONG);
        code.aload(AT).loadConstant(operand).laload().loadConstant(POINTER).land().lstore(local);
        return local;
    }

    /** {@code local += step[operand]}. */
    static void advance(CodeBuilder code, int local, int operand) {
        code.lload(local).aload(STEP).loadConstant(operand).laload().ladd().loadConstant(POINTER).land().lstore(local);
    }

    /** {@code local -= step[operand]}. */
    static void retreat(CodeBuilder code, int local, int operand) {
        code.lload(local).aload(STEP).loadConstant(operand).laload().lsub().loadConstant(POINTER).land().lstore(local);
    }
}
