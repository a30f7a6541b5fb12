// Transposes tiles of 4-byte elements in registers: sixteen times fewer loads and stores than element by element.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.memory.Memory;
import java.lang.classfile.CodeBuilder;
import java.lang.classfile.TypeKind;
import java.lang.constant.ClassDesc;
import java.lang.constant.ConstantDescs;
import java.lang.constant.MethodTypeDesc;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.Vector;
import jdk.incubator.vector.VectorSpecies;

/**
 * Transposition of a matrix whose extents are multiples of {@link #SIDE}. A tile has as many rows as a vector has lanes;
 * blocks of halving size change places between pairs of rows. The code is generated because that takes
 * {@code SIDE log2(SIDE)} different steps on {@code SIDE} local variables.
 */
interface Transpose {
    /** Rows and columns of a tile. */
    int SIDE = Lanes.INTS.length();

    /** The generated loop. */
    Transpose TILES = Loops.define(Transpose.class, Transpose::emit);

    /**
     * Makes runs of {@code rows} contiguous elements, {@code sourceStep} bytes apart, columns of the target, whose rows are
     * {@code targetRow} bytes apart.
     */
    void run(long source, long sourceStep, long target, long targetRow, int rows, int columns);

    /** For lane {@code k}, in a pair of rows {@code distance} apart: which of the lanes of both the first or the second gets. */
    static IntVector lanes(int distance, int second) {
        int[] from = new int[SIDE];
        for (int k = 0; k < SIDE; k++) {
            boolean upper = (k & distance) != 0;
            from[k] = second == 0 ? upper ? SIDE + k - distance : k : upper ? SIDE + k : k + distance;
        }
        return IntVector.fromArray(Lanes.INTS, from, 0);
    }

    private static void emit(CodeBuilder code) {
        ClassDesc ints = IntVector.class.describeConstable().orElseThrow();
        ClassDesc vector = Vector.class.describeConstable().orElseThrow();
        ClassDesc species = VectorSpecies.class.describeConstable().orElseThrow();
        ClassDesc segment = MemorySegment.class.describeConstable().orElseThrow();
        ClassDesc order = ByteOrder.class.describeConstable().orElseThrow();
        ClassDesc lanes = Lanes.class.describeConstable().orElseThrow();
        ClassDesc memory = Memory.class.describeConstable().orElseThrow();
        ClassDesc self = Transpose.class.describeConstable().orElseThrow();
        MethodTypeDesc load = MethodTypeDesc.of(ints, species, segment, ConstantDescs.CD_long, order);
        MethodTypeDesc store = MethodTypeDesc.of(ConstantDescs.CD_void, segment, ConstantDescs.CD_long, order);
        int source = 1;
        int sourceStep = 3;
        int target = 5;
        int targetRow = 7;
        int rows = 9;
        int columns = 10;
        int column = code.allocateLocal(TypeKind.INT);
        int row = code.allocateLocal(TypeKind.INT);
        int from = code.allocateLocal(TypeKind.LONG);
        int to = code.allocateLocal(TypeKind.LONG);
        int[] v = new int[SIDE];
        for (int i = 0; i < SIDE; i++) {
            v[i] = code.allocateLocal(TypeKind.REFERENCE);
        }
        List<Integer> selections = new ArrayList<>(); // two for every distance
        for (int distance = SIDE / 2; distance > 0; distance /= 2) {
            for (int second = 0; second < 2; second++) {
                selections.add(code.allocateLocal(TypeKind.REFERENCE));
                code.loadConstant(distance).loadConstant(second)
                        .invokestatic(self, "lanes", MethodTypeDesc.of(ints, ConstantDescs.CD_int, ConstantDescs.CD_int), true)
                        .astore(selections.getLast());
            }
        }
        code.iconst_0().istore(column);
        Loops.loop(code, column, columns, SIDE, () -> {
            code.iconst_0().istore(row);
            Loops.loop(code, row, rows, SIDE, () -> {
                code.lload(source).iload(column).i2l().lload(sourceStep).lmul().ladd().lstore(from);
                Loops.address(code, from, row, Integer.BYTES);
                code.lstore(from);
                code.lload(target).iload(row).i2l().lload(targetRow).lmul().ladd().lstore(to);
                Loops.address(code, to, column, Integer.BYTES);
                code.lstore(to);
                for (int i = 0; i < SIDE; i++) {
                    code.getstatic(lanes, "INTS", species).getstatic(memory, "ALL", segment).lload(from)
                            .getstatic(lanes, "ORDER", order).invokestatic(ints, "fromMemorySegment", load).astore(v[i]);
                    code.lload(from).lload(sourceStep).ladd().lstore(from);
                }
                int selection = 0;
                for (int distance = SIDE / 2; distance > 0; distance /= 2, selection += 2) {
                    for (int i = 0; i < SIDE; i++) {
                        if ((i & distance) == 0) {
                            for (int second = 0; second < 2; second++) {
                                code.aload(selections.get(selection + second)).aload(v[i]).aload(v[i + distance])
                                        .invokevirtual(ints, "selectFrom", MethodTypeDesc.of(ints, vector, vector));
                            }
                            code.astore(v[i + distance]).astore(v[i]);
                        }
                    }
                }
                for (int i = 0; i < SIDE; i++) {
                    code.aload(v[i]).getstatic(memory, "ALL", segment).lload(to).getstatic(lanes, "ORDER", order)
                            .invokevirtual(ints, "intoMemorySegment", store);
                    code.lload(to).lload(targetRow).ladd().lstore(to);
                }
            });
        });
    }
}
