// cuDNN's convolutions and the choice of their algorithms.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code x} is convolved with the filters {@code w} to {@code y}. The tensors' descriptors are from {@link Cudnn}, under whose
 * conventions these methods are.
 */
final class CudnnConvolution {
    static final int CUDNN_CONVOLUTION = 0;
    /** What deep learning calls a convolution: the filter is not flipped. */
    static final int CUDNN_CROSS_CORRELATION = 1;

    static final int CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM = 0;
    /** The only algorithm that {@link #biasActivationForward} knows without an activation. */
    static final int CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM = 1;
    static final int CUDNN_CONVOLUTION_FWD_ALGO_COUNT = 8;
    static final int CUDNN_CONVOLUTION_BWD_DATA_ALGO_0 = 0;
    static final int CUDNN_CONVOLUTION_BWD_DATA_ALGO_1 = 1;
    static final int CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT = 6;
    static final int CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 = 0;
    static final int CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 = 1;
    static final int CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT = 7;

    static final int CUDNN_NON_DETERMINISTIC = 0;
    static final int CUDNN_DETERMINISTIC = 1;

    /** {@code cudnnConvolutionFwdAlgoPerf_t}, 48 bytes, and the same for the two backward directions. */
    static final MemoryLayout ALGO_PERF = MemoryLayout.structLayout(JAVA_INT.withName("algo"), JAVA_INT.withName("status"),
            JAVA_FLOAT.withName("time"), MemoryLayout.paddingLayout(4), JAVA_LONG.withName("memory"),
            JAVA_INT.withName("determinism"), JAVA_INT.withName("mathType"), MemoryLayout.sequenceLayout(3, JAVA_INT),
            MemoryLayout.paddingLayout(4));
    private static final long ALGO = offset("algo");
    private static final long STATUS = offset("status");
    private static final long TIME = offset("time");
    private static final long MEMORY = offset("memory");
    private static final long DETERMINISM = offset("determinism");
    private static final long MATH_TYPE = offset("mathType");

    private static final NativeLibrary LIBRARY = CudaLibraries.CUDNN;

    private static final NativeFunction FILTER_CREATE = LIBRARY.function("cudnnCreateFilterDescriptor", POINTER);
    private static final NativeFunction FILTER_SET =
            LIBRARY.function("cudnnSetFilterNdDescriptor", POINTER, JAVA_INT, JAVA_INT, JAVA_INT, POINTER);
    private static final NativeFunction FILTER_DESTROY = LIBRARY.function("cudnnDestroyFilterDescriptor", POINTER);
    private static final NativeFunction CREATE = LIBRARY.function("cudnnCreateConvolutionDescriptor", POINTER);
    private static final NativeFunction SET = LIBRARY.function("cudnnSetConvolutionNdDescriptor", POINTER, JAVA_INT, POINTER,
            POINTER, POINTER, JAVA_INT, JAVA_INT);
    private static final NativeFunction SET_GROUP_COUNT =
            LIBRARY.function("cudnnSetConvolutionGroupCount", POINTER, JAVA_INT);
    private static final NativeFunction SET_MATH_TYPE = LIBRARY.function("cudnnSetConvolutionMathType", POINTER, JAVA_INT);
    private static final NativeFunction DESTROY = LIBRARY.function("cudnnDestroyConvolutionDescriptor", POINTER);

    private static final NativeFunction GET_FORWARD = get("cudnnGetConvolutionForwardAlgorithm_v7");
    private static final NativeFunction GET_BACKWARD_DATA = get("cudnnGetConvolutionBackwardDataAlgorithm_v7");
    private static final NativeFunction GET_BACKWARD_FILTER = get("cudnnGetConvolutionBackwardFilterAlgorithm_v7");
    private static final NativeFunction FIND_FORWARD = find("cudnnFindConvolutionForwardAlgorithmEx");
    private static final NativeFunction FIND_BACKWARD_DATA = find("cudnnFindConvolutionBackwardDataAlgorithmEx");
    private static final NativeFunction FIND_BACKWARD_FILTER = LIBRARY.function(
            "cudnnFindConvolutionBackwardFilterAlgorithmEx", POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER,
            POINTER, JAVA_INT, POINTER, POINTER, POINTER, JAVA_LONG);
    private static final NativeFunction FORWARD_WORKSPACE = workspace("cudnnGetConvolutionForwardWorkspaceSize");
    private static final NativeFunction BACKWARD_DATA_WORKSPACE = workspace("cudnnGetConvolutionBackwardDataWorkspaceSize");
    private static final NativeFunction BACKWARD_FILTER_WORKSPACE =
            workspace("cudnnGetConvolutionBackwardFilterWorkspaceSize");

    private static final NativeFunction FORWARD = run("cudnnConvolutionForward");
    private static final NativeFunction BACKWARD_DATA = run("cudnnConvolutionBackwardData");
    private static final NativeFunction BACKWARD_FILTER = run("cudnnConvolutionBackwardFilter");
    private static final NativeFunction BACKWARD_BIAS = LIBRARY.function("cudnnConvolutionBackwardBias", POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER);
    private static final NativeFunction BIAS_ACTIVATION_FORWARD = LIBRARY.function("cudnnConvolutionBiasActivationForward",
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_INT, POINTER, JAVA_LONG, POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER);
    private static final MethodHandle FORWARD_HANDLE = FORWARD.dynamicInvoker();
    private static final MethodHandle BACKWARD_DATA_HANDLE = BACKWARD_DATA.dynamicInvoker();
    private static final MethodHandle BACKWARD_FILTER_HANDLE = BACKWARD_FILTER.dynamicInvoker();
    private static final MethodHandle BACKWARD_BIAS_HANDLE = BACKWARD_BIAS.dynamicInvoker();
    private static final MethodHandle BIAS_ACTIVATION_FORWARD_HANDLE = BIAS_ACTIVATION_FORWARD.dynamicInvoker();

    /**
     * An algorithm for one convolution.
     *
     * @param algo its number, one of a direction's {@code ALGO} constants
     * @param milliseconds how long it took, or -1 if it was not run
     * @param mathType what the convolution's descriptor must be set to
     */
    record Algorithm(int algo, float milliseconds, long workspaceBytes, boolean deterministic, int mathType) {
    }

    private CudnnConvolution() {
    }

    private static long offset(String field) {
        return ALGO_PERF.byteOffset(PathElement.groupElement(field));
    }

    private static NativeFunction get(String name) {
        return LIBRARY.function(name, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_INT, POINTER, POINTER);
    }

    private static NativeFunction find(String name) {
        return LIBRARY.function(name, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_INT,
                POINTER, POINTER, POINTER, JAVA_LONG);
    }

    private static NativeFunction workspace(String name) {
        return LIBRARY.function(name, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_INT, POINTER);
    }

    private static NativeFunction run(String name) {
        return LIBRARY.function(name, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_INT, POINTER,
                JAVA_LONG, POINTER, POINTER, POINTER);
    }

    /** Filters of sizes {@code (K, C / groups, kernel...)}, in the order of a {@code CUDNN_TENSOR} in memory. */
    static long filterDescriptor(int type, int format, int[] sizes) {
        return Cudnn.described(FILTER_CREATE, FILTER_DESTROY,
                (descriptor, arena) -> FILTER_SET.call(descriptor, type, format, sizes.length, Cudnn.ints(arena, sizes)));
    }

    /** Destroys a descriptor of filters. */
    static void destroyFilterDescriptor(long descriptor) {
        FILTER_DESTROY.call(descriptor);
    }

    /**
     * A cross-correlation.
     *
     * @param padding zeros at both ends, one number for each of at least two spatial dimensions; so are the next two
     * @param computeType a {@code CUDNN_DATA} to add up in
     * @param mathType a {@code MATH}, to begin with
     */
    static long descriptor(int[] padding, int[] stride, int[] dilation, int groups, int computeType, int mathType) {
        return Cudnn.described(CREATE, DESTROY, (descriptor, arena) -> {
            SET.call(descriptor, padding.length, Cudnn.ints(arena, padding), Cudnn.ints(arena, stride),
                    Cudnn.ints(arena, dilation), CUDNN_CROSS_CORRELATION, computeType);
            SET_GROUP_COUNT.call(descriptor, groups);
            setMathType(descriptor, mathType);
        });
    }

    /** Sets whether tensor cores are used; an {@link Algorithm} says what it was measured with. */
    static void setMathType(long descriptor, int mathType) {
        SET_MATH_TYPE.call(descriptor, mathType);
    }

    /** Destroys a descriptor of a convolution. */
    static void destroyDescriptor(long descriptor) {
        DESTROY.call(descriptor);
    }

    /** What cuDNN guesses to be the best algorithms, the best one first. */
    static List<Algorithm> forwardAlgorithms(long handle, long xDesc, long wDesc, long convDesc, long yDesc) {
        return algorithms(GET_FORWARD, CUDNN_CONVOLUTION_FWD_ALGO_COUNT, handle, xDesc, wDesc, convDesc, yDesc);
    }

    /** As {@link #forwardAlgorithms} for the gradient of {@code x}. */
    static List<Algorithm> backwardDataAlgorithms(long handle, long wDesc, long dyDesc, long convDesc, long dxDesc) {
        return algorithms(GET_BACKWARD_DATA, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, handle, wDesc, dyDesc, convDesc, dxDesc);
    }

    /** As {@link #forwardAlgorithms} for the gradient of {@code w}. */
    static List<Algorithm> backwardFilterAlgorithms(long handle, long xDesc, long dyDesc, long convDesc, long dwDesc) {
        return algorithms(GET_BACKWARD_FILTER, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, handle, xDesc, dyDesc, convDesc,
                dwDesc);
    }

    /** Runs and times all algorithms that the workspace is enough for, the fastest first. Overwrites {@code y}. */
    static List<Algorithm> findForward(long handle, long xDesc, long x, long wDesc, long w, long convDesc, long yDesc, long y,
            long workspace, long workspaceBytes) {
        return timed(FIND_FORWARD, CUDNN_CONVOLUTION_FWD_ALGO_COUNT, workspace, workspaceBytes, handle, xDesc, x, wDesc, w,
                convDesc, yDesc, y);
    }

    /** As {@link #findForward} for the gradient of {@code x}. Overwrites {@code dx}. */
    static List<Algorithm> findBackwardData(long handle, long wDesc, long w, long dyDesc, long dy, long convDesc, long dxDesc,
            long dx, long workspace, long workspaceBytes) {
        return timed(FIND_BACKWARD_DATA, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, workspace, workspaceBytes, handle, wDesc, w,
                dyDesc, dy, convDesc, dxDesc, dx);
    }

    /** As {@link #findForward} for the gradient of {@code w}. Overwrites {@code dw}. */
    static List<Algorithm> findBackwardFilter(long handle, long xDesc, long x, long dyDesc, long dy, long convDesc,
            long dwDesc, long dw, long workspace, long workspaceBytes) {
        return timed(FIND_BACKWARD_FILTER, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, workspace, workspaceBytes, handle, xDesc,
                x, dyDesc, dy, convDesc, dwDesc, dw);
    }

    private static List<Algorithm> algorithms(NativeFunction get, int count, long handle, long first, long second,
            long convDesc, long third) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment results = arena.allocate(ALGO_PERF, count);
            MemorySegment returned = arena.allocate(JAVA_INT);
            get.call(handle, first, second, convDesc, third, count, returned.address(), results.address());
            return usable(results, returned.get(JAVA_INT, 0));
        }
    }

    private static List<Algorithm> timed(NativeFunction find, int count, long workspace, long workspaceBytes, long handle,
            long firstDesc, long first, long secondDesc, long second, long convDesc, long thirdDesc, long third) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment results = arena.allocate(ALGO_PERF, count);
            MemorySegment returned = arena.allocate(JAVA_INT);
            find.call(handle, firstDesc, first, secondDesc, second, convDesc, thirdDesc, third, count, returned.address(),
                    results.address(), workspace, workspaceBytes);
            return usable(results, returned.get(JAVA_INT, 0));
        }
    }

    private static List<Algorithm> usable(MemorySegment results, int count) {
        List<Algorithm> algorithms = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            MemorySegment perf = results.asSlice(i * ALGO_PERF.byteSize(), ALGO_PERF);
            if (perf.get(JAVA_INT, STATUS) == Cudnn.CUDNN_STATUS_SUCCESS) {
                algorithms.add(new Algorithm(perf.get(JAVA_INT, ALGO), perf.get(JAVA_FLOAT, TIME),
                        perf.get(JAVA_LONG, MEMORY), perf.get(JAVA_INT, DETERMINISM) == CUDNN_DETERMINISTIC,
                        perf.get(JAVA_INT, MATH_TYPE)));
            }
        }
        return algorithms;
    }

    /** The workspace of {@link #forward} in bytes. */
    static long forwardWorkspaceBytes(long handle, long xDesc, long wDesc, long convDesc, long yDesc, int algo) {
        return FORWARD_WORKSPACE.getLastLong(handle, xDesc, wDesc, convDesc, yDesc, algo);
    }

    /** The workspace of {@link #backwardData} in bytes. */
    static long backwardDataWorkspaceBytes(long handle, long wDesc, long dyDesc, long convDesc, long dxDesc, int algo) {
        return BACKWARD_DATA_WORKSPACE.getLastLong(handle, wDesc, dyDesc, convDesc, dxDesc, algo);
    }

    /** The workspace of {@link #backwardFilter} in bytes. */
    static long backwardFilterWorkspaceBytes(long handle, long xDesc, long dyDesc, long convDesc, long dwDesc, int algo) {
        return BACKWARD_FILTER_WORKSPACE.getLastLong(handle, xDesc, dyDesc, convDesc, dwDesc, algo);
    }

    /** {@code y = alpha conv(x, w) + beta y}. */
    static void forward(long handle, long alpha, long xDesc, long x, long wDesc, long w, long convDesc, int algo,
            long workspace, long workspaceBytes, long beta, long yDesc, long y) {
        try {
            FORWARD.check((int) FORWARD_HANDLE.invokeExact(handle, alpha, xDesc, x, wDesc, w, convDesc, algo, workspace,
                    workspaceBytes, beta, yDesc, y));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** The gradient of {@code x}: {@code dx = alpha ... + beta dx}. */
    static void backwardData(long handle, long alpha, long wDesc, long w, long dyDesc, long dy, long convDesc, int algo,
            long workspace, long workspaceBytes, long beta, long dxDesc, long dx) {
        try {
            BACKWARD_DATA.check((int) BACKWARD_DATA_HANDLE.invokeExact(handle, alpha, wDesc, w, dyDesc, dy, convDesc, algo,
                    workspace, workspaceBytes, beta, dxDesc, dx));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** The gradient of {@code w}: {@code dw = alpha ... + beta dw}. */
    static void backwardFilter(long handle, long alpha, long xDesc, long x, long dyDesc, long dy, long convDesc, int algo,
            long workspace, long workspaceBytes, long beta, long dwDesc, long dw) {
        try {
            BACKWARD_FILTER.check((int) BACKWARD_FILTER_HANDLE.invokeExact(handle, alpha, xDesc, x, dyDesc, dy, convDesc,
                    algo, workspace, workspaceBytes, beta, dwDesc, dw));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** The gradient of a bias: {@code db = alpha sum(dy) + beta db}, {@code db} of sizes {@code (1, K, 1, 1)}. */
    static void backwardBias(long handle, long alpha, long dyDesc, long dy, long beta, long dbDesc, long db) {
        try {
            BACKWARD_BIAS.check((int) BACKWARD_BIAS_HANDLE.invokeExact(handle, alpha, dyDesc, dy, beta, dbDesc, db));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /**
     * {@code y = activation(alpha1 conv(x, w) + alpha2 z + bias)}, {@code bias} of sizes {@code (1, K, 1, 1)}.
     *
     * @param zDesc like {@code yDesc}, even if {@code alpha2} is 0
     * @param activationDesc rectifier or identity
     */
    static void biasActivationForward(long handle, long alpha1, long xDesc, long x, long wDesc, long w, long convDesc,
            int algo, long workspace, long workspaceBytes, long alpha2, long zDesc, long z, long biasDesc, long bias,
            long activationDesc, long yDesc, long y) {
        try {
            BIAS_ACTIVATION_FORWARD.check((int) BIAS_ACTIVATION_FORWARD_HANDLE.invokeExact(handle, alpha1, xDesc, x, wDesc, w,
                    convDesc, algo, workspace, workspaceBytes, alpha2, zDesc, z, biasDesc, bias, activationDesc, yDesc, y));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }
}
