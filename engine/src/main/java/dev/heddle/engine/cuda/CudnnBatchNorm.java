// cuDNN's batch normalization.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.invoke.MethodHandle;

/**
 * {@code y = (x - mean) / sqrt(variance + epsilon) * scale + bias}, under the conventions of {@link Cudnn}. Scale, bias and
 * statistics share a descriptor: floats of sizes {@code (1, C, 1, 1)}, doubles if {@code x} holds doubles.
 */
final class CudnnBatchNorm {
    static final int CUDNN_BATCHNORM_SPATIAL = 1;
    /** Faster, with a narrower range of sums in half precision. */
    static final int CUDNN_BATCHNORM_SPATIAL_PERSISTENT = 2;

    private static final NativeLibrary LIBRARY = CudaLibraries.CUDNN;

    private static final NativeFunction FORWARD_TRAINING = LIBRARY.function("cudnnBatchNormalizationForwardTraining",
            POINTER, JAVA_INT, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_DOUBLE,
            POINTER, POINTER, JAVA_DOUBLE, POINTER, POINTER);
    private static final NativeFunction FORWARD_INFERENCE = LIBRARY.function("cudnnBatchNormalizationForwardInference",
            POINTER, JAVA_INT, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER,
            POINTER, JAVA_DOUBLE);
    private static final NativeFunction BACKWARD = LIBRARY.function("cudnnBatchNormalizationBackward", POINTER, JAVA_INT,
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER,
            POINTER, POINTER, JAVA_DOUBLE, POINTER, POINTER);
    private static final MethodHandle FORWARD_TRAINING_HANDLE = FORWARD_TRAINING.dynamicInvoker();
    private static final MethodHandle FORWARD_INFERENCE_HANDLE = FORWARD_INFERENCE.dynamicInvoker();
    private static final MethodHandle BACKWARD_HANDLE = BACKWARD.dynamicInvoker();

    private CudnnBatchNorm() {
    }

    /**
     * Normalizes by the batch's own statistics.
     *
     * @param mode a {@code CUDNN_BATCHNORM}
     * @param averageFactor {@code running = running (1 - factor) + batch factor}; the running variance is unbiased
     * @param savedMean what {@link #backward} wants to be given, or 0; so is {@code savedInverseDeviation}
     */
    static void forwardTraining(long handle, int mode, long alpha, long beta, long xDesc, long x, long yDesc, long y,
            long statsDesc, long scale, long bias, double averageFactor, long runningMean, long runningVariance,
            double epsilon, long savedMean, long savedInverseDeviation) {
        try {
            FORWARD_TRAINING.check((int) FORWARD_TRAINING_HANDLE.invokeExact(handle, mode, alpha, beta, xDesc, x, yDesc, y,
                    statsDesc, scale, bias, averageFactor, runningMean, runningVariance, epsilon, savedMean,
                    savedInverseDeviation));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Normalizes by given statistics. */
    static void forwardInference(long handle, int mode, long alpha, long beta, long xDesc, long x, long yDesc, long y,
            long statsDesc, long scale, long bias, long mean, long variance, double epsilon) {
        try {
            FORWARD_INFERENCE.check((int) FORWARD_INFERENCE_HANDLE.invokeExact(handle, mode, alpha, beta, xDesc, x, yDesc, y,
                    statsDesc, scale, bias, mean, variance, epsilon));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /**
     * The gradients of what {@link #forwardTraining} was given.
     *
     * @param alphaData for {@code dx}, as {@code betaData}; the next two are for {@code dScale} and {@code dBias}
     * @param savedMean what forward saved, or 0; so is {@code savedInverseDeviation}
     */
    static void backward(long handle, int mode, long alphaData, long betaData, long alphaParam, long betaParam, long xDesc,
            long x, long dyDesc, long dy, long dxDesc, long dx, long statsDesc, long scale, long dScale, long dBias,
            double epsilon, long savedMean, long savedInverseDeviation) {
        try {
            BACKWARD.check((int) BACKWARD_HANDLE.invokeExact(handle, mode, alphaData, betaData, alphaParam, betaParam, xDesc,
                    x, dyDesc, dy, dxDesc, dx, statsDesc, scale, dScale, dBias, epsilon, savedMean, savedInverseDeviation));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }
}
