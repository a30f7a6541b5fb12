// The inner loops of reductions, and the order in which they combine elements.
package dev.heddle.engine.cpu.codegen;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import java.lang.constant.ConstantDescs;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.HashMap;
import java.util.Map;

/**
 * Combines up to {@link #CHUNK} elements along a contiguous axis ({@link #rows}) or across one ({@link #accumulate},
 * {@link #fold}). Element {@code r} belongs to lane {@code r % lanes()}. A lane combines its elements of a block in order,
 * then its blocks in order; in the end lanes are combined by halves: {@code l} with {@code l + lanes() / 2}, and so on. As
 * both ways keep to this order, a sum has the same bits however its operand lies in memory.
 */
interface Reduction {
    /** Elements combined at once; the results of longer axes' chunks are then reduced in turn. */
    int CHUNK = 2048;

    /** Elements whose sum is begun anew, so that rounding errors do not grow with the length of a chunk. */
    int BLOCK = 512;

    /** Number of lanes, a power of two; 1 if blocks do not matter. */
    int lanes();

    /** Reduces {@code rows} contiguous runs of {@code n} elements, {@code rowStep} bytes apart, to as many results. */
    void rows(long from, long rowStep, int rows, int n, long to);

    /**
     * Takes rows {@code first} to {@code first + rows} of {@code n} contiguous columns into the lanes; all but the last of
     * them are taken in multiples of 64.
     *
     * @param from address of row {@code first}
     * @param lanes address of twice {@code lanes()} rows of {@code n} accumulators, initialised when {@code first} is 0
     */
    void accumulate(long from, long rowStep, int first, int rows, int n, long lanes);

    /** Combines the lanes of {@code n} columns of {@code rows} rows into {@code n} results. */
    void fold(long lanes, int rows, int n, long to);

    /** What a sum, product, maximum or minimum begins with. */
    static float identity(Reduce.Kind kind) {
        return switch (kind) {
            case SUM, MEAN -> 0;
            case PROD -> 1;
            case MAX -> Float.NEGATIVE_INFINITY;
            case MIN -> Float.POSITIVE_INFINITY;
            case ARGMAX, ARGMIN -> throw new IllegalArgumentException("reduce: " + kind + " has no identity");
        };
    }

    /** What combines two elements; a mean's are summed. */
    static Expr.BinaryOp combining(Reduce.Kind kind) {
        return switch (kind) {
            case SUM, MEAN -> Expr.BinaryOp.ADD;
            case PROD -> Expr.BinaryOp.MUL;
            case MAX -> Expr.BinaryOp.MAX;
            case MIN -> Expr.BinaryOp.MIN;
            case ARGMAX, ARGMIN -> throw new IllegalArgumentException("reduce: " + kind + " combines no elements");
        };
    }

    /** The result of that dtype, given what {@code count} elements come to combined: divided if it is a mean. */
    static Expr result(Reduce.Kind kind, Expr combined, long count, DType dtype) {
        Expr result = kind == Reduce.Kind.MEAN ? new Expr.Binary(Expr.BinaryOp.DIV, combined, Expr.constant(count, combined.dtype())) : combined;
        return result.cast(dtype);
    }

    /** The loops for {@code SUM}, {@code PROD}, {@code MAX} or {@code MIN} of {@code F32}, {@code F64} or {@code I64}. */
    static Reduction of(Reduce.Kind kind, DType dtype) {
        return Copies.of(kind, dtype);
    }

    /** A copy of the loops' class for every kind, so that the kind is a constant where they are compiled. */
    final class Copies {
        private record Key(Reduce.Kind kind, DType dtype) {}

        private static final Map<Key, Reduction> COPIES = new HashMap<>();

        private Copies() {}

        private static synchronized Reduction of(Reduce.Kind kind, DType dtype) {
            return COPIES.computeIfAbsent(new Key(kind, dtype), key -> define(kind, switch (dtype) {
                case F32 -> FloatReduction.class;
                case F64 -> DoubleReduction.class;
                case I64 -> LongReduction.class;
                default -> throw new IllegalArgumentException("reduce: no loops for " + dtype);
            }));
        }

        private static Reduction define(Reduce.Kind kind, Class<?> template) {
            try {
                byte[] bytes = Inliner.inlined(template);
                MethodHandles.Lookup lookup = MethodHandles.lookup().defineHiddenClassWithClassData(bytes, kind, true);
                return (Reduction) lookup.findConstructor(lookup.lookupClass(), MethodType.methodType(void.class)).invoke();
            } catch (Throwable e) {
                throw new IllegalStateException("reduce: cannot copy " + template.getName(), e);
            }
        }

        /** The kind a copy was made for. */
        static Reduce.Kind kind(MethodHandles.Lookup copy) {
            try {
                return MethodHandles.classData(copy, ConstantDescs.DEFAULT_NAME, Reduce.Kind.class);
            } catch (IllegalAccessException e) {
                throw new IllegalStateException("reduce: no kind for " + copy, e);
            }
        }
    }
}
