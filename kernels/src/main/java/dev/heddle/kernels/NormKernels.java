// Launches of norm.cu.
package dev.heddle.kernels;

import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.engine.fused.RmsNorm;
import dev.heddle.engine.plan.Kernel;
import java.util.List;

/** Layer norm and RMS norm, with and without a residual. */
final class NormKernels {
    private static final long NULL = 0;

    private NormKernels() {}

    /** {@code (x, weight, bias) -> (y, mean, rstd)}. */
    static Kernel layerNorm(LayerNorm op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.LAYER_NORM_FORWARD).pointer(call.output(0)).pointer(call.output(1))
                .pointer(call.output(2)).value(NULL).pointer(0).value(NULL).pointer(1).pointer(2);
        return forward(launch, op.eps(), call);
    }

    /** {@code (x, residual, weight, bias) -> (y, sum, mean, rstd)}. */
    static Kernel residualLayerNorm(ResidualLayerNorm op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.LAYER_NORM_FORWARD).pointer(call.output(0)).pointer(call.output(2))
                .pointer(call.output(3)).pointer(call.output(1)).pointer(0).pointer(1).pointer(2).pointer(3);
        return forward(launch, op.eps(), call);
    }

    /** {@code (x, weight) -> (y, rstd)}. */
    static Kernel rmsNorm(RmsNorm op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.RMS_NORM_FORWARD).pointer(call.output(0)).pointer(call.output(1)).value(NULL)
                .pointer(0).value(NULL).pointer(1);
        return forward(launch, op.eps(), call);
    }

    /** {@code (x, residual, weight) -> (y, sum, rstd)}. */
    static Kernel residualRmsNorm(ResidualRmsNorm op, FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.RMS_NORM_FORWARD).pointer(call.output(0)).pointer(call.output(2))
                .pointer(call.output(1)).pointer(0).pointer(1).pointer(2);
        return forward(launch, op.eps(), call);
    }

    private static Kernel forward(Launch.Builder launch, double eps, FusedCall call) {
        launch.value(call.rows()).value(call.columns()).value((float) eps);
        return call.rowBlock(16, 1024, 128).over(call.rows(), launch).build();
    }

    /** {@code (x, weight, mean, rstd, dy) -> (dx, dweight, dbias)}, or with the gradient of the sum behind {@code dy}. */
    static Kernel layerNormBackward(FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.LAYER_NORM_BACKWARD).pointer(call.output(0)).pointer(call.workspace()).pointer(0)
                .pointer(1).pointer(2).pointer(3);
        return backward(launch, 4, 2, call);
    }

    /** {@code (x, weight, rstd, dy) -> (dx, dweight)}, or with the gradient of the sum behind {@code dy}. */
    static Kernel rmsNormBackward(FusedCall call) {
        Launch.Builder launch = call.launch(Catalogue.RMS_NORM_BACKWARD).pointer(call.output(0)).pointer(call.workspace()).pointer(0)
                .pointer(1).pointer(2);
        return backward(launch, 3, 1, call);
    }

    /** A few blocks add up their rows' gradients of {@code parameters} vectors; the second kernel adds up the blocks'. */
    private static Kernel backward(Launch.Builder launch, int dy, int parameters, FusedCall call) {
        FusedCall.Block block = call.rowBlock(8, 512, 512);
        int parts = (int) Math.min(2L * call.cuda().multiprocessors(), FusedCall.divideUp(call.rows(), block.rows()));
        int columns = call.columns();
        launch.pointer(dy);
        if (call.inputs().size() > dy + 1) {
            launch.pointer(dy + 1);
        } else {
            launch.value(NULL);
        }
        launch.value(call.rows()).value(columns).block(block.threads(), block.rows(), 1).grid(parts, 1, 1)
                .shared(block.rows() > 1 ? 64 * block.threads() : 0).workspace(4L * parts * parameters * columns);

        Launch.Builder sum = call.launch(Catalogue.NORM_BACKWARD_PARAMETERS).pointer(call.output(1));
        if (parameters == 2) {
            sum.pointer(call.output(2));
        } else {
            sum.value(NULL);
        }
        sum.pointer(call.workspace()).value(parts).value(columns).block(32, 8, 1)
                .grid(FusedCall.divideUp((long) parameters * columns, 32), 1, 1);
        return Cuda.sequence(List.of(launch.build(), sum.build()));
    }
}
