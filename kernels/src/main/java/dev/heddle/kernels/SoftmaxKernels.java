// Launches of softmax.cu.
package dev.heddle.kernels;

import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.fused.Softmax;
import dev.heddle.engine.plan.Kernel;

/** Softmax and log-softmax. */
final class SoftmaxKernels {
    private SoftmaxKernels() {}

    static Kernel forward(Softmax op, FusedCall call) {
        Launch.Builder launch = call.launch(op.log() ? Catalogue.LOG_SOFTMAX_FORWARD : Catalogue.SOFTMAX_FORWARD)
                .pointer(call.output(0)).pointer(0).value(call.rows()).value(call.columns());
        return call.rowBlock(16, 1024, 128).over(call.rows(), launch).build();
    }

    static Kernel backward(Softmax.Backward op, FusedCall call) {
        Launch.Builder launch = call.launch(op.log() ? Catalogue.LOG_SOFTMAX_BACKWARD : Catalogue.SOFTMAX_BACKWARD)
                .pointer(call.output(0)).pointer(0).pointer(1).value(call.rows()).value(call.columns());
        return call.rowBlock(16, 1024, 128).over(call.rows(), launch).build();
    }
}
