// cuDNN 9: what all of its operations share, handles, errors and the descriptors of tensors.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.heddle.engine.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;

/**
 * {@code libcudnn}. Handles, descriptors, addresses and device pointers are {@code long}s; {@code alpha} and {@code beta} are
 * addresses of host floats (doubles if the tensors hold doubles), as in {@code result = alpha op + beta result}. Every method
 * throws {@link CudaException} with cuDNN's own explanation if the call fails.
 */
final class Cudnn {
    static final int CUDNN_STATUS_SUCCESS = 0;

    static final int CUDNN_DATA_FLOAT = 0;
    static final int CUDNN_DATA_DOUBLE = 1;
    static final int CUDNN_DATA_HALF = 2;
    static final int CUDNN_DATA_BFLOAT16 = 9;

    static final int CUDNN_TENSOR_NCHW = 0;
    static final int CUDNN_TENSOR_NHWC = 1;

    /** Tensor cores where the types allow them. */
    static final int CUDNN_DEFAULT_MATH = 0;
    static final int CUDNN_TENSOR_OP_MATH = 1;
    /** Tensor cores for floats too, rounded to tf32. */
    static final int CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION = 2;
    /** No tensor cores, no tf32. */
    static final int CUDNN_FMA_MATH = 3;

    static final int CUDNN_NOT_PROPAGATE_NAN = 0;
    static final int CUDNN_PROPAGATE_NAN = 1;

    static final int CUDNN_ACTIVATION_RELU = 1;
    static final int CUDNN_ACTIVATION_IDENTITY = 5;

    /** The address of 0, as a float and as a double. */
    static final long ZERO = Arena.global().allocateFrom(JAVA_DOUBLE, 0).address();
    /** The address of 1f. */
    static final long ONE = Arena.global().allocateFrom(JAVA_FLOAT, 1f).address();
    /** The address of 1.0. */
    static final long ONE_DOUBLE = Arena.global().allocateFrom(JAVA_DOUBLE, 1.0).address();

    private static final int MESSAGE_BYTES = 2048;

    private static final NativeLibrary LIBRARY = CudaLibraries.CUDNN;

    private static final NativeFunction GET_ERROR_STRING =
            LIBRARY.function("cudnnGetErrorString", FunctionDescriptor.of(POINTER, JAVA_INT));
    private static final NativeFunction GET_LAST_ERROR_STRING =
            LIBRARY.function("cudnnGetLastErrorString", FunctionDescriptor.ofVoid(POINTER, JAVA_LONG));
    private static final NativeFunction GET_VERSION =
            LIBRARY.function("cudnnGetVersion", FunctionDescriptor.of(JAVA_LONG));
    private static final NativeFunction GET_CUDART_VERSION =
            LIBRARY.function("cudnnGetCudartVersion", FunctionDescriptor.of(JAVA_LONG));
    private static final NativeFunction CREATE = LIBRARY.function("cudnnCreate", POINTER);
    private static final NativeFunction DESTROY = LIBRARY.function("cudnnDestroy", POINTER);
    private static final NativeFunction SET_STREAM = LIBRARY.function("cudnnSetStream", POINTER, POINTER);
    private static final NativeFunction TENSOR_CREATE = LIBRARY.function("cudnnCreateTensorDescriptor", POINTER);
    private static final NativeFunction TENSOR_SET =
            LIBRARY.function("cudnnSetTensorNdDescriptor", POINTER, JAVA_INT, JAVA_INT, POINTER, POINTER);
    private static final NativeFunction TENSOR_DESTROY = LIBRARY.function("cudnnDestroyTensorDescriptor", POINTER);
    private static final NativeFunction ACTIVATION_CREATE = LIBRARY.function("cudnnCreateActivationDescriptor", POINTER);
    private static final NativeFunction ACTIVATION_SET =
            LIBRARY.function("cudnnSetActivationDescriptor", POINTER, JAVA_INT, JAVA_INT, JAVA_DOUBLE);
    private static final NativeFunction ACTIVATION_DESTROY = LIBRARY.function("cudnnDestroyActivationDescriptor", POINTER);
    private static final NativeFunction DROPOUT_CREATE = LIBRARY.function("cudnnCreateDropoutDescriptor", POINTER);
    private static final NativeFunction DROPOUT_STATES_SIZE =
            LIBRARY.function("cudnnDropoutGetStatesSize", POINTER, POINTER);
    private static final NativeFunction DROPOUT_SET = LIBRARY.function("cudnnSetDropoutDescriptor", POINTER, POINTER,
            JAVA_FLOAT, POINTER, JAVA_LONG, JAVA_LONG);
    private static final NativeFunction DROPOUT_DESTROY = LIBRARY.function("cudnnDestroyDropoutDescriptor", POINTER);

    private Cudnn() {
    }

    /** The version as a number: 91900 is 9.19.0. */
    static long version() {
        return GET_VERSION.getValue();
    }

    /** {@code major.minor.patch} and the version of CUDA that the library was built for. */
    static String versionText() {
        long version = version();
        return version / 10000 + "." + version / 100 % 100 + "." + version % 100 + " for CUDA "
                + CudaLibraries.dotted((int) GET_CUDART_VERSION.getValue());
    }

    /** The {@code CUDNN_DATA} of a floating-point type, -1 for another. */
    static int dataType(DType dtype) {
        return switch (dtype) {
            case F32 -> CUDNN_DATA_FLOAT;
            case F64 -> CUDNN_DATA_DOUBLE;
            case BF16 -> CUDNN_DATA_BFLOAT16;
            case F16 -> CUDNN_DATA_HALF;
            default -> -1;
        };
    }

    /** A handle, which belongs to the current context. */
    static long create() {
        return CREATE.getLong();
    }

    /** Destroys a handle. */
    static void destroy(long handle) {
        DESTROY.call(handle);
    }

    /** Sets the stream that a handle's work goes to. */
    static void setStream(long handle, long stream) {
        SET_STREAM.call(handle, stream);
    }

    /**
     * A descriptor of a tensor.
     *
     * @param type a {@code CUDNN_DATA}
     * @param sizes {@code (N, C, H, W)} or {@code (N, C, D, H, W)}, whatever the order in memory; at least three
     * @param strides elements from one to the next along each dimension, which say the order in memory
     */
    static long tensorDescriptor(int type, int[] sizes, int[] strides) {
        return described(TENSOR_CREATE, TENSOR_DESTROY, (descriptor, arena) -> TENSOR_SET.call(descriptor, type, sizes.length,
                ints(arena, sizes), ints(arena, strides)));
    }

    /** Destroys a descriptor of a tensor. */
    static void destroyTensorDescriptor(long descriptor) {
        TENSOR_DESTROY.call(descriptor);
    }

    /** A descriptor of a {@code CUDNN_ACTIVATION}; {@code coefficient} is a bound that only some have. */
    static long activationDescriptor(int mode, int nanPropagation, double coefficient) {
        return described(ACTIVATION_CREATE, ACTIVATION_DESTROY,
                (descriptor, _) -> ACTIVATION_SET.call(descriptor, mode, nanPropagation, coefficient));
    }

    /** Destroys a descriptor of an activation. */
    static void destroyActivationDescriptor(long descriptor) {
        ACTIVATION_DESTROY.call(descriptor);
    }

    /** How many bytes of device memory the random numbers of dropout need. */
    static long dropoutStatesBytes(long handle) {
        return DROPOUT_STATES_SIZE.getLastLong(handle);
    }

    /** A descriptor of dropout between recurrent layers; fills {@code states}, which must live as long as it. */
    static long dropoutDescriptor(long handle, float probability, long states, long statesBytes, long seed) {
        return described(DROPOUT_CREATE, DROPOUT_DESTROY,
                (descriptor, _) -> DROPOUT_SET.call(descriptor, handle, probability, states, statesBytes, seed));
    }

    /** Destroys a descriptor of dropout. */
    static void destroyDropoutDescriptor(long descriptor) {
        DROPOUT_DESTROY.call(descriptor);
    }

    /** How a new descriptor gets its contents. */
    interface Setter {
        void set(long descriptor, Arena arena);
    }

    /** Creates a descriptor and sets it; if that fails, it is destroyed again. */
    static long described(NativeFunction create, NativeFunction destroy, Setter setter) {
        long descriptor = create.getLong();
        try (Arena arena = Arena.ofConfined()) {
            setter.set(descriptor, arena);
            return descriptor;
        } catch (CudaException e) {
            destroy.call(descriptor);
            throw e;
        }
    }

    /** The address of a C array. */
    static long ints(Arena arena, int[] values) {
        return arena.allocateFrom(JAVA_INT, values).address();
    }

    static CudaException failure(String call, int status) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment message = arena.allocate(MESSAGE_BYTES);
            GET_LAST_ERROR_STRING.callVoid(message.address(), message.byteSize());
            return new CudaException(call, status, GET_ERROR_STRING.getText(status), message.getString(0).strip(),
                    Driver.currentDevice());
        }
    }
}
