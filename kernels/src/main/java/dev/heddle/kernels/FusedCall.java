// What launchers know of the op they launch: dtypes, shapes, and which operand is where.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.plan.Layout;
import java.util.List;

/**
 * A fused op's operands, contiguous but where its launcher says otherwise; the first input is {@code (rows, columns)} after its
 * leading axes are joined.
 */
record FusedCall(List<Layout> inputs, List<Layout> outputs, Cuda cuda) {
    private static final int WARP = 32;

    DType dtype() {
        return inputs.getFirst().dtype();
    }

    int columns() {
        return Math.toIntExact(inputs.getFirst().shape().dim(-1));
    }

    long rows() {
        return inputs.getFirst().shape().elements() / columns();
    }

    Shape shape(int input) {
        return inputs.get(input).shape();
    }

    /** The place of an output among the operands. */
    int output(int i) {
        return inputs.size() + i;
    }

    /** The place of the workspace among the operands. */
    int workspace() {
        return inputs.size() + outputs.size();
    }

    Launch.Builder launch(Catalogue kernel) {
        return kernel.launch(cuda, dtype());
    }

    /**
     * Gives each row of the first input to a warp or more.
     *
     * @param perThread columns a thread works on, before more threads are taken
     * @param most threads of a row
     * @param least threads of a block
     */
    Block rowBlock(int perThread, int most, int least) {
        int threads = (int) Math.min(most, WARP * divideUp(columns(), WARP * perThread));
        return new Block(threads, Math.max(1, least / threads));
    }

    /** A block of {@code threads x rows}, whose threads with the same row number work on the same row. */
    record Block(int threads, int rows) {
        /** The launch with such blocks, enough for so many rows. */
        Launch.Builder over(long count, Launch.Builder launch) {
            return launch.block(threads, rows, 1).grid(divideUp(count, rows), 1, 1);
        }
    }

    static long divideUp(long a, long b) {
        return (a + b - 1) / b;
    }
}
