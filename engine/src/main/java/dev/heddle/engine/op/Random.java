// Counter-based random numbers: the same on every device, whatever the number of threads.
package dev.heddle.engine.op;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * Random numbers by Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). Inputs: two
 * {@code I64} scalars, {@code seed} (the key: low word, high word) and {@code offset}. Element {@code i} (row-major)
 * belongs to block {@code offset + i / 4}, a 64-bit counter in the low two of the four counter words, the high two zero,
 * and is computed from the block's word {@code i % 4}, {@code u}:
 * {@code UNIFORM = (u >>> 8) * 2^-24}, in {@code [0, 1)}; {@code NORMAL} by Box-Muller from the word pairs (0,1) and (2,3):
 * with {@code a = ((u0 >>> 8) + 1) * 2^-24} and {@code b = (u1 >>> 8) * 2^-24}, the even element is
 * {@code sqrt(-2 ln a) cos(2 pi b)}, the odd one {@code sqrt(-2 ln a) sin(2 pi b)}.
 *
 * @param dtype {@code F32} or {@code F64} (the same values, widened)
 */
public record Random(Distribution distribution, DType dtype, Shape shape) implements Op {
    /** The distribution of each element. */
    public enum Distribution { UNIFORM, NORMAL }

    /** Number of Philox blocks that a tensor of this many elements uses: how far the offset moves. */
    public static long blocks(long elements) {
        return (elements + 3) / 4;
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec scalar = new Spec(DType.I64, Shape.SCALAR);
        if (dtype != DType.F32 && dtype != DType.F64) {
            throw new ShapeException(name() + ": F32 or F64, not " + dtype);
        }
        if (inputs.size() != 2 || !inputs.get(0).equals(scalar) || !inputs.get(1).equals(scalar)) {
            throw new ShapeException(name() + ": seed and offset must be I64 scalars, got " + inputs);
        }
        return List.of(new Spec(dtype, shape));
    }

    @Override
    public String name() {
        return distribution == Distribution.UNIFORM ? "rand" : "randn";
    }
}
