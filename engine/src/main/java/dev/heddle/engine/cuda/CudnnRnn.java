// cuDNN's recurrent networks over whole sequences, in the form (v8) that cuDNN 9 kept.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/** RNN, LSTM and GRU of several layers, under the conventions of {@link Cudnn}. */
final class CudnnRnn {
    static final int CUDNN_RNN_RELU = 0;
    static final int CUDNN_RNN_TANH = 1;
    static final int CUDNN_LSTM = 2;
    static final int CUDNN_GRU = 3;

    static final int CUDNN_RNN_ALGO_STANDARD = 0;
    static final int CUDNN_RNN_ALGO_PERSIST_STATIC = 1;

    static final int CUDNN_RNN_NO_BIAS = 0;
    /** One bias for the input and one for the state, as PyTorch has. */
    static final int CUDNN_RNN_DOUBLE_BIAS = 2;

    static final int CUDNN_UNIDIRECTIONAL = 0;
    static final int CUDNN_BIDIRECTIONAL = 1;
    static final int CUDNN_LINEAR_INPUT = 0;

    static final int CUDNN_RNN_PADDED_IO_DISABLED = 0;
    static final int CUDNN_RNN_PADDED_IO_ENABLED = 1;

    /** {@code (T, B, C)}. */
    static final int CUDNN_RNN_DATA_LAYOUT_SEQ_MAJOR_UNPACKED = 0;
    /** {@code (B, T, C)}. */
    static final int CUDNN_RNN_DATA_LAYOUT_BATCH_MAJOR_UNPACKED = 2;

    static final int CUDNN_FWD_MODE_INFERENCE = 0;
    static final int CUDNN_FWD_MODE_TRAINING = 1;
    /** The gradients of weights are added to what is there: the only mode there is. */
    static final int CUDNN_WGRAD_MODE_ADD = 0;

    private static final NativeLibrary LIBRARY = CudaLibraries.CUDNN;

    private static final NativeFunction CREATE = LIBRARY.function("cudnnCreateRNNDescriptor", POINTER);
    private static final NativeFunction SET = LIBRARY.function("cudnnSetRNNDescriptor_v8", POINTER, JAVA_INT, JAVA_INT,
            JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, POINTER,
            JAVA_INT);
    private static final NativeFunction DESTROY = LIBRARY.function("cudnnDestroyRNNDescriptor", POINTER);
    private static final NativeFunction DATA_CREATE = LIBRARY.function("cudnnCreateRNNDataDescriptor", POINTER);
    private static final NativeFunction DATA_SET = LIBRARY.function("cudnnSetRNNDataDescriptor", POINTER, JAVA_INT, JAVA_INT,
            JAVA_INT, JAVA_INT, JAVA_INT, POINTER, POINTER);
    private static final NativeFunction DATA_DESTROY = LIBRARY.function("cudnnDestroyRNNDataDescriptor", POINTER);
    private static final NativeFunction WEIGHT_SPACE_SIZE =
            LIBRARY.function("cudnnGetRNNWeightSpaceSize", POINTER, POINTER, POINTER);
    private static final NativeFunction WEIGHT_PARAMS = LIBRARY.function("cudnnGetRNNWeightParams", POINTER, POINTER,
            JAVA_INT, JAVA_LONG, POINTER, JAVA_INT, POINTER, POINTER, POINTER, POINTER);
    private static final NativeFunction TEMP_SPACE_SIZES = LIBRARY.function("cudnnGetRNNTempSpaceSizes", POINTER, POINTER,
            JAVA_INT, POINTER, POINTER, POINTER);
    private static final NativeFunction FORWARD = LIBRARY.function("cudnnRNNForward", POINTER, POINTER, JAVA_INT, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_LONG, POINTER,
            JAVA_LONG, POINTER, JAVA_LONG, POINTER);
    private static final NativeFunction BACKWARD_DATA = LIBRARY.function("cudnnRNNBackwardData_v8", POINTER, POINTER,
            POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER,
            POINTER, POINTER, JAVA_LONG, POINTER, JAVA_LONG, POINTER, JAVA_LONG, POINTER);
    private static final NativeFunction BACKWARD_WEIGHTS = LIBRARY.function("cudnnRNNBackwardWeights_v8", POINTER, POINTER,
            JAVA_INT, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, POINTER, JAVA_LONG, POINTER, JAVA_LONG, POINTER,
            JAVA_LONG, POINTER);
    private static final MethodHandle FORWARD_HANDLE = FORWARD.dynamicInvoker();
    private static final MethodHandle BACKWARD_DATA_HANDLE = BACKWARD_DATA.dynamicInvoker();
    private static final MethodHandle BACKWARD_WEIGHTS_HANDLE = BACKWARD_WEIGHTS.dynamicInvoker();

    /** Bytes of device memory: of a call, and of what forward keeps for backward. */
    record TempSpace(long workspaceBytes, long reserveBytes) {
    }

    /** Device pointers into a weight space: a matrix and its bias, 0 where there is none. */
    record Parameters(long matrix, long bias) {
    }

    private CudnnRnn() {
    }

    /**
     * A network.
     *
     * @param algo a {@code CUDNN_RNN_ALGO}
     * @param cell {@code CUDNN_RNN_RELU}, {@code CUDNN_RNN_TANH}, {@code CUDNN_LSTM} or {@code CUDNN_GRU}
     * @param direction {@code CUDNN_UNIDIRECTIONAL} or {@code CUDNN_BIDIRECTIONAL}
     * @param dataType the {@code CUDNN_DATA} of inputs, weights and outputs
     * @param mathPrecision the {@code CUDNN_DATA} to compute in
     * @param dropoutDesc what to put between layers, or 0
     * @param flags {@code CUDNN_RNN_PADDED_IO_ENABLED} or 0
     */
    static long descriptor(int algo, int cell, int bias, int direction, int dataType, int mathPrecision, int mathType,
            int inputSize, int hiddenSize, int layers, long dropoutDesc, int flags) {
        return Cudnn.described(CREATE, DESTROY, (descriptor, _) -> SET.call(descriptor, algo, cell, bias, direction,
                CUDNN_LINEAR_INPUT, dataType, mathPrecision, mathType, inputSize, hiddenSize, hiddenSize, layers,
                dropoutDesc, flags));
    }

    /** Destroys a network's descriptor. */
    static void destroyDescriptor(long descriptor) {
        DESTROY.call(descriptor);
    }

    /** Sequences of vectors, each sequence of its own length; what lies behind their ends is padding, filled with 0. */
    static long dataDescriptor(int type, int layout, int maxLength, int vectorSize, int[] lengths) {
        return Cudnn.described(DATA_CREATE, DATA_DESTROY, (descriptor, arena) -> DATA_SET.call(descriptor, type, layout,
                maxLength, lengths.length, vectorSize, Cudnn.ints(arena, lengths), Cudnn.ZERO));
    }

    /** Destroys a descriptor of sequences. */
    static void destroyDataDescriptor(long descriptor) {
        DATA_DESTROY.call(descriptor);
    }

    /** How many bytes of device memory all weights and biases take. */
    static long weightSpaceBytes(long handle, long rnnDesc) {
        return WEIGHT_SPACE_SIZE.getLastLong(handle, rnnDesc);
    }

    /**
     * Where in a weight space a matrix and its bias are.
     *
     * @param pseudoLayer the layer; with two directions twice that, plus 1 for the backward one
     * @param linear which matrix: an RNN has input 0, state 1; an LSTM input, forget, cell and output gate 0 to 3 for the
     *     input, 4 to 7 for the state; a GRU reset, update and new 0 to 2 for the input, 3 to 5 for the state
     * @param matrixDesc a tensor descriptor, overwritten with the matrix's; so is {@code biasDesc}
     */
    static Parameters weightParams(long handle, long rnnDesc, int pseudoLayer, long weightSpaceBytes, long weightSpace,
            int linear, long matrixDesc, long biasDesc) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment matrix = arena.allocate(JAVA_LONG);
            MemorySegment bias = arena.allocate(JAVA_LONG);
            WEIGHT_PARAMS.call(handle, rnnDesc, pseudoLayer, weightSpaceBytes, weightSpace, linear, matrixDesc,
                    matrix.address(), biasDesc, bias.address());
            return new Parameters(matrix.get(JAVA_LONG, 0), bias.get(JAVA_LONG, 0));
        }
    }

    /** What {@link #forward} in a {@code CUDNN_FWD_MODE} needs besides its arguments. */
    static TempSpace tempSpace(long handle, long rnnDesc, int mode, long xDesc) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment workspace = arena.allocate(JAVA_LONG);
            MemorySegment reserve = arena.allocate(JAVA_LONG);
            TEMP_SPACE_SIZES.call(handle, rnnDesc, mode, xDesc, workspace.address(), reserve.address());
            return new TempSpace(workspace.get(JAVA_LONG, 0), reserve.get(JAVA_LONG, 0));
        }
    }

    /**
     * Runs over whole sequences.
     *
     * @param lengths device pointer to an int for each sequence, or 0: the descriptors have them too
     * @param hDesc of {@code hx} and {@code hy}, (layers, B, hidden); any of the four states may be 0, as zero or not wanted
     */
    static void forward(long handle, long rnnDesc, int mode, long lengths, long xDesc, long x, long yDesc, long y, long hDesc,
            long hx, long hy, long cDesc, long cx, long cy, long weightBytes, long weights, long workspaceBytes,
            long workspace, long reserveBytes, long reserve) {
        try {
            FORWARD.check((int) FORWARD_HANDLE.invokeExact(handle, rnnDesc, mode, lengths, xDesc, x, yDesc, y, hDesc, hx, hy,
                    cDesc, cx, cy, weightBytes, weights, workspaceBytes, workspace, reserveBytes, reserve));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** The gradients of {@code x}, {@code hx} and {@code cx}; comes before {@link #backwardWeights}. */
    static void backwardData(long handle, long rnnDesc, long lengths, long yDesc, long y, long dy, long xDesc, long dx,
            long hDesc, long hx, long dhy, long dhx, long cDesc, long cx, long dcy, long dcx, long weightBytes, long weights,
            long workspaceBytes, long workspace, long reserveBytes, long reserve) {
        try {
            BACKWARD_DATA.check((int) BACKWARD_DATA_HANDLE.invokeExact(handle, rnnDesc, lengths, yDesc, y, dy, xDesc, dx,
                    hDesc, hx, dhy, dhx, cDesc, cx, dcy, dcx, weightBytes, weights, workspaceBytes, workspace, reserveBytes,
                    reserve));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Adds the gradients of all weights to {@code dWeights}, which is laid out like a weight space. */
    static void backwardWeights(long handle, long rnnDesc, long lengths, long xDesc, long x, long hDesc, long hx, long yDesc,
            long y, long weightBytes, long dWeights, long workspaceBytes, long workspace, long reserveBytes, long reserve) {
        try {
            BACKWARD_WEIGHTS.check((int) BACKWARD_WEIGHTS_HANDLE.invokeExact(handle, rnnDesc, CUDNN_WGRAD_MODE_ADD, lengths,
                    xDesc, x, hDesc, hx, yDesc, y, weightBytes, dWeights, workspaceBytes, workspace, reserveBytes, reserve));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }
}
