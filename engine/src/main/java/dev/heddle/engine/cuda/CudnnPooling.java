// cuDNN's pooling.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.invoke.MethodHandle;

/** Maximum and average over windows, under the conventions of {@link Cudnn}. */
final class CudnnPooling {
    static final int CUDNN_POOLING_MAX = 0;
    static final int CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING = 1;
    static final int CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING = 2;
    /** As the maximum, but the gradient is added up in a fixed order. */
    static final int CUDNN_POOLING_MAX_DETERMINISTIC = 3;

    private static final NativeLibrary LIBRARY = CudaLibraries.CUDNN;

    private static final NativeFunction CREATE = LIBRARY.function("cudnnCreatePoolingDescriptor", POINTER);
    private static final NativeFunction SET = LIBRARY.function("cudnnSetPoolingNdDescriptor", POINTER, JAVA_INT, JAVA_INT,
            JAVA_INT, POINTER, POINTER, POINTER);
    private static final NativeFunction DESTROY = LIBRARY.function("cudnnDestroyPoolingDescriptor", POINTER);
    private static final NativeFunction FORWARD = LIBRARY.function("cudnnPoolingForward", POINTER, POINTER, POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER);
    private static final NativeFunction BACKWARD = LIBRARY.function("cudnnPoolingBackward", POINTER, POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER);
    private static final MethodHandle FORWARD_HANDLE = FORWARD.dynamicInvoker();
    private static final MethodHandle BACKWARD_HANDLE = BACKWARD.dynamicInvoker();

    private CudnnPooling() {
    }

    /**
     * A pooling.
     *
     * @param mode a {@code CUDNN_POOLING}
     * @param nanPropagation whether a maximum with NaN is NaN: {@code CUDNN_PROPAGATE_NAN}
     * @param window sizes in each of two or three spatial dimensions; so are the next two
     * @param padding at both ends
     */
    static long descriptor(int mode, int nanPropagation, int[] window, int[] padding, int[] stride) {
        return Cudnn.described(CREATE, DESTROY, (descriptor, arena) -> SET.call(descriptor, mode, nanPropagation,
                window.length, Cudnn.ints(arena, window), Cudnn.ints(arena, padding), Cudnn.ints(arena, stride)));
    }

    /** Destroys a descriptor of a pooling. */
    static void destroyDescriptor(long descriptor) {
        DESTROY.call(descriptor);
    }

    /** {@code y = alpha pool(x) + beta y}. */
    static void forward(long handle, long poolingDesc, long alpha, long xDesc, long x, long beta, long yDesc, long y) {
        try {
            FORWARD.check((int) FORWARD_HANDLE.invokeExact(handle, poolingDesc, alpha, xDesc, x, beta, yDesc, y));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** The gradient of {@code x}: {@code dx = alpha ... + beta dx}. A maximum is looked for in {@code x} and {@code y}. */
    static void backward(long handle, long poolingDesc, long alpha, long yDesc, long y, long dyDesc, long dy, long xDesc,
            long x, long beta, long dxDesc, long dx) {
        try {
            BACKWARD.check((int) BACKWARD_HANDLE.invokeExact(handle, poolingDesc, alpha, yDesc, y, dyDesc, dy, xDesc, x,
                    beta, dxDesc, dx));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }
}
