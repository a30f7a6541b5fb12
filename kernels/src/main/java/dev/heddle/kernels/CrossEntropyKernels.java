// Launches of cross_entropy.cu.
package dev.heddle.kernels;

import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.fused.CrossEntropy;
import dev.heddle.engine.plan.Kernel;

/** Softmax cross-entropy. */
final class CrossEntropyKernels {
    private CrossEntropyKernels() {}

    static Kernel forward(CrossEntropy op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.CROSS_ENTROPY_FORWARD).pointer(call.output(0)).pointer(0).pointer(1);
        return finish(launch, op.ignoreIndex(), op.smoothing(), call);
    }

    static Kernel backward(CrossEntropy.Backward op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.CROSS_ENTROPY_BACKWARD).pointer(call.output(0)).pointer(0).pointer(1).pointer(2);
        return finish(launch, op.ignoreIndex(), op.smoothing(), call);
    }

    static Kernel forwardBackward(CrossEntropy.ForwardBackward op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.CROSS_ENTROPY_FORWARD_BACKWARD).pointer(call.output(0)).pointer(call.output(1))
                .pointer(0).pointer(1).pointer(2);
        return finish(launch, op.ignoreIndex(), op.smoothing(), call);
    }

    private static Kernel finish(Launch.Builder launch, long ignoreIndex, double smoothing, FusedCall call) {
        launch.value(call.rows()).value(call.columns()).value(ignoreIndex).value((float) smoothing).value(call.cuda().indexError());
        return call.rowBlock(24, 1024, 128).over(call.rows(), launch).build();
    }
}
