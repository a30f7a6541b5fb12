// Writes the code of a loop over f32 lanes: main loop on whole vectors, the rest of a row under a mask.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.TypeKind;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Emits {@link Loop#run} for values that are vectors of f32 or masks. */
final class VectorLoop {
    private final CodeBuilder code;
    private final Loops.Elementwise key;
    private final int inputs;
    private final VectorCode vectors;
    private final Map<Integer, Expr.Input> used = new TreeMap<>();
    private final Map<Integer, Integer> pointers = new HashMap<>();
    private int index;

    VectorLoop(CodeBuilder code, Loops.Elementwise key) {
        this.code = code;
        this.key = key;
        inputs = key.repeated().size();
        vectors = new VectorCode(code, key.outputs(), Loops.CONSTANTS, this::load);
        for (Expr e : Program.uses(key.outputs()).keySet()) {
            if (e instanceof Expr.Input in) {
                used.put(in.index(), in);
            }
        }
    }

    void emit() {
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

    private void emitRow() {
        vectors.beginRow();
        used.forEach((input, e) -> {
            if (key.repeated().get(input)) {
                code.lload(pointers.get(input));
                vectors.broadcast(e.dtype());
                vectors.know(e, vectors.keep());
            }
        });
        vectors.beginBody(key.outputs());
        key.outputs().forEach(output -> vectors.hoist(VectorCode.stored(output), input -> key.repeated().get(input.index())));
        code.iconst_0().istore(index);
        if (key.whole()) {
            int limit = code.allocateLocal(TypeKind.INT);
            code.iload(Loops.N).loadConstant(-VectorCode.LANES).iand().istore(limit);
            Loops.loop(code, index, limit, VectorCode.LANES, () -> emitBody(VectorCode.NONE));
        }
        if (key.rest()) {
            Loops.loop(code, index, Loops.N, VectorCode.LANES, () -> {
                code.iload(index).iload(Loops.N);
                emitBody(vectors.first());
            });
        }
    }

    private void load(Expr.Input in) {
        Loops.address(code, pointers.get(in.index()), index, in.dtype().bytes());
        vectors.load(in.dtype());
    }

    /** Computes all outputs of the elements from {@code index} on, then stores them. */
    private void emitBody(int mask) {
        vectors.beginBody(key.outputs());
        vectors.masked(mask);
        List<Integer> results = new ArrayList<>();
        for (Expr output : key.outputs()) {
            vectors.push(VectorCode.stored(output));
            results.add(vectors.keep());
        }
        for (int i = 0; i < results.size(); i++) {
            DType dtype = key.outputs().get(i).dtype();
            code.aload(results.get(i));
            Loops.address(code, pointers.get(inputs + i), index, dtype.bytes());
            vectors.store(dtype);
        }
        vectors.masked(VectorCode.NONE);
    }
}
