// Copies the code of small methods into generated ones. The compiler stops inlining ordinary methods once a loop has a
// few dozen vector operations, and a vector that crosses a real call is allocated; code that is already in place is
// compiled whole, because the methods of the Vector API themselves are always inlined.
package dev.heddle.engine.cpu.codegen;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.classfile.ClassFile;
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

/**
 * The static methods of {@link VectorMath} and {@link Lanes}, as code to be inserted. What they call in the two classes
 * is inserted too; other calls stay calls. Their bodies may branch but not handle exceptions.
 */
final class Inliner {
    private static final ClassDesc MATH = VectorMath.class.describeConstable().orElseThrow();
    private static final ClassDesc LANES = Lanes.class.describeConstable().orElseThrow();
    private static final Map<String, CodeModel> BODIES = new HashMap<>();

    static {
        read(VectorMath.class);
        read(Lanes.class);
    }

    private Inliner() {}

    private static void read(Class<?> type) {
        try (InputStream in = type.getResourceAsStream(type.getSimpleName() + ".class")) {
            for (MethodModel method : ClassFile.of(ClassFile.DebugElementsOption.DROP_DEBUG).parse(in.readAllBytes()).methods()) {
                method.code().ifPresent(code -> BODIES.put(
                        key(type.getSimpleName(), method.methodName().stringValue(), method.methodTypeSymbol()), code));
            }
        } catch (IOException e) {
            throw new UncheckedIOException("code generation: cannot read " + type.getName(), e);
        }
    }

    private static String key(String type, String name, MethodTypeDesc signature) {
        return type + '.' + name + signature.descriptorString();
    }

    /** Inserts the method of {@link VectorMath}; arguments are taken from the stack, the result is left there. */
    static void math(CodeBuilder code, String name, MethodTypeDesc signature) {
        insert(code, MATH, name, signature);
    }

    /** Inserts the method of {@link Lanes}. */
    static void lanes(CodeBuilder code, String name, MethodTypeDesc signature) {
        insert(code, LANES, name, signature);
    }

    private static void insert(CodeBuilder code, ClassDesc type, String name, MethodTypeDesc signature) {
        CodeModel body = BODIES.get(key(type.displayName(), name, signature));
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
                case StoreInstruction store -> code.storeLocal(store.typeKind(),
                        slots.computeIfAbsent(slot(store.slot(), store.typeKind()), slot -> code.allocateLocal(store.typeKind())));
                case LabelTarget target -> code.labelBinding(labels.computeIfAbsent(target.label(), label -> code.newLabel()));
                case BranchInstruction branch -> code.branch(branch.opcode(),
                        labels.computeIfAbsent(branch.target(), label -> code.newLabel()));
                case ReturnInstruction result -> {
                    if (i < elements.size() - 1) {
                        code.goto_(end);
                    }
                }
                case InvokeInstruction call when call.owner().asSymbol().equals(MATH) || call.owner().asSymbol().equals(LANES) ->
                        insert(code, call.owner().asSymbol(), call.name().stringValue(), call.typeSymbol());
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
