// Copies the code of small methods into generated ones. The compiler stops inlining ordinary methods once a loop has a
// few dozen vector operations, and a vector that crosses a real call is allocated; code that is already in place is
// compiled whole, because the methods of the Vector API themselves are always inlined.
package dev.heddle.engine.cpu.codegen;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.ClassTransform;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.CodeElement;
import java.lang.classfile.CodeModel;
import java.lang.classfile.Label;
import java.lang.classfile.MethodModel;
import java.lang.classfile.TypeKind;
import java.lang.classfile.instruction.BranchInstruction;
import java.lang.classfile.instruction.InvokeInstruction;
import java.lang.classfile.instruction.LabelTarget;
import java.lang.classfile.instruction.LoadInstruction;
import java.lang.classfile.instruction.ReturnInstruction;
import java.lang.classfile.instruction.StoreInstruction;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The static methods of {@link VectorMath} and {@link Lanes}, as code to be inserted. What they call in the two classes
 * is inserted too; other calls stay calls. Their bodies may branch but not handle exceptions.
 */
final class Inliner {
    private static final ClassDesc MATH = describe(VectorMath.class);
    private static final ClassDesc LANES = describe(Lanes.class);
    private static final Map<String, CodeModel> BODIES = new ConcurrentHashMap<>();

    static {
        read(VectorMath.class);
        read(Lanes.class);
    }

    private Inliner() {}

    private static ClassDesc describe(Class<?> type) {
        return type.describeConstable().orElseThrow();
    }

    private static ClassModel read(Class<?> type) {
        try (InputStream in = type.getResourceAsStream(type.getSimpleName() + ".class")) {
            ClassModel model = ClassFile.of(ClassFile.DebugElementsOption.DROP_DEBUG).parse(in.readAllBytes());
            for (MethodModel method : model.methods()) {
                method.code().ifPresent(code -> BODIES.put(
                        key(describe(type), method.methodName().stringValue(), method.methodTypeSymbol()), code));
            }
            return model;
        } catch (IOException e) {
            throw new UncheckedIOException("code generation: cannot read " + type.getName(), e);
        }
    }

    /** The class file of a class of this package, with the methods of its own that take or return vectors inserted too. */
    static synchronized byte[] inlined(Class<?> type) {
        ClassModel model = read(type);
        ClassDesc owner = describe(type);
        return ClassFile.of().transformClass(model, ClassTransform.transformingMethodBodies((code, element) -> {
            if (element instanceof InvokeInstruction call && isInserted(call, owner)) {
                insert(code, call.owner().asSymbol(), call.name().stringValue(), call.typeSymbol(), owner);
            } else {
                code.with(element);
            }
        }));
    }

    private static boolean isInserted(InvokeInstruction call, ClassDesc self) {
        ClassDesc owner = call.owner().asSymbol();
        return owner.equals(MATH) || owner.equals(LANES)
                || owner.equals(self) && call.typeSymbol().descriptorString().contains("Vector");
    }

    private static String key(ClassDesc type, String name, MethodTypeDesc signature) {
        return type.displayName() + '.' + name + signature.descriptorString();
    }

    /** Inserts the method of {@link VectorMath}; arguments are taken from the stack, the result is left there. */
    static synchronized void math(CodeBuilder code, String name, MethodTypeDesc signature) {
        insert(code, MATH, name, signature, MATH);
    }

    /** Inserts the method of {@link Lanes}. */
    static synchronized void lanes(CodeBuilder code, String name, MethodTypeDesc signature) {
        insert(code, LANES, name, signature, LANES);
    }

    private static void insert(CodeBuilder code, ClassDesc type, String name, MethodTypeDesc signature, ClassDesc self) {
        CodeModel body = BODIES.get(key(type, name, signature));
        if (body == null) {
            throw new IllegalArgumentException("code generation: no method " + type.displayName() + '.' + name
                    + signature.displayDescriptor());
        }
        Map<Integer, Integer> slots = new HashMap<>();
        List<ClassDesc> parameters = signature.parameterList();
        int size = parameters.stream().mapToInt(p -> TypeKind.from(p).slotSize()).sum();
        for (int i = parameters.size() - 1; i >= 0; i--) {
            TypeKind kind = TypeKind.from(parameters.get(i));
            size -= kind.slotSize();
            int local = code.allocateLocal(kind);
            slots.put(slot(size, kind), local);
            code.storeLocal(kind, local);
        }
        Map<Label, Label> labels = new HashMap<>();
        Label end = code.newLabel();
        List<CodeElement> elements = body.elementList();
        for (int i = 0; i < elements.size(); i++) {
            switch (elements.get(i)) {
                case LoadInstruction load -> code.loadLocal(load.typeKind(), slots.get(slot(load.slot(), load.typeKind())));
                case StoreInstruction store -> code.storeLocal(store.typeKind(), slots.computeIfAbsent(
                        slot(store.slot(), store.typeKind()), slot -> code.allocateLocal(store.typeKind())));
                case LabelTarget target -> code.labelBinding(labels.computeIfAbsent(target.label(), label -> code.newLabel()));
                case BranchInstruction branch -> code.branch(branch.opcode(),
                        labels.computeIfAbsent(branch.target(), label -> code.newLabel()));
                case ReturnInstruction result -> {
                    if (i < elements.size() - 1) {
                        code.goto_(end);
                    }
                }
                case InvokeInstruction call when isInserted(call, self) ->
                        insert(code, call.owner().asSymbol(), call.name().stringValue(), call.typeSymbol(), self);
                case CodeElement other -> code.with(other);
            }
        }
        code.labelBinding(end);
    }

    /** Identifies a local variable; compilers reuse a slot for variables of other types. */
    private static int slot(int index, TypeKind kind) {
        return index * TypeKind.values().length + kind.ordinal();
    }
}
