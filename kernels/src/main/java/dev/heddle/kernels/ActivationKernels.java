// Launches of activation.cu.
package dev.heddle.kernels;

import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.fused.Dropout;
import dev.heddle.engine.plan.Kernel;
import java.util.List;

/** Activations with the bias before them, gated units, dropout. */
final class ActivationKernels {
    private static final int COLUMNS = 256; // of a block, in a row of the grid
    private static final int ROWS = 8; // of a block, at a time

    private ActivationKernels() {}

    private static long columnBlocks(FusedCall call) {
        return FusedCall.divideUp(call.columns(), COLUMNS);
    }

    /** Blocks that share the rows of the same columns. */
    private static int rowBlocks(FusedCall call) {
        long wanted = FusedCall.divideUp(8L * call.cuda().multiprocessors(), columnBlocks(call));
        return (int) Math.min(wanted, FusedCall.divideUp(call.rows(), ROWS));
    }

    private static Launch.Builder geometry(Launch.Builder launch, FusedCall call) {
        return launch.block(32, ROWS, 1).grid(columnBlocks(call), rowBlocks(call), 1);
    }

    static Kernel bias(BiasActivation op, FusedCall call) {
        Launch.Builder launch = call.launch(op.function().forward).pointer(call.output(0)).pointer(0).pointer(1).value(call.rows())
                .value(call.columns());
        return geometry(launch, call).build();
    }

    static Kernel biasBackward(BiasActivation.Backward op, FusedCall call) {
        int parts = rowBlocks(call);
        Launch.Builder launch = call.launch(op.function().backward).pointer(call.output(0)).pointer(call.workspace()).pointer(0).pointer(1)
                .pointer(2).value(call.rows()).value(call.columns()).workspace(4L * parts * call.columns());
        Launch.Builder sum = call.launch(Catalogue.BIAS_BACKWARD_PARAMETERS).pointer(call.output(1)).pointer(call.workspace()).value(parts)
                .value(call.columns()).block(32, 8, 1).grid(FusedCall.divideUp(call.columns(), 32), 1, 1);
        return Cuda.sequence(List.of(geometry(launch, call).build(), sum.build()));
    }

    /** {@code (x, seed, offset) -> y}; each thread takes eight elements at a time. */
    static Kernel dropout(Dropout op, FusedCall call) {
        long count = call.shape(0).elements();
        return call.launch(Catalogue.DROPOUT).pointer(call.output(0)).pointer(0).value(count).pointer(1).pointer(2).value((float) op.p())
                .value((float) (1 / (1 - op.p())))
                .grid(Math.min(FusedCall.divideUp(count, 8 * 256), 8L * call.cuda().multiprocessors()), 1, 1).build();
    }

    static Kernel swiGlu(FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.SWIGLU_FORWARD).pointer(call.output(0)).pointer(0).pointer(1).value(call.rows())
                .value(call.columns()).value((long) call.columns());
        return geometry(launch, call).build();
    }

    static Kernel swiGluBackward(FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.SWIGLU_BACKWARD).pointer(call.output(0)).pointer(call.output(1)).pointer(0).pointer(1)
                .pointer(2).value(call.rows()).value(call.columns()).value((long) call.columns());
        return geometry(launch, call).build();
    }
}
