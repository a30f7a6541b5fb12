// JCuda code and Heddle code on the same tensors and streams.
package dev.heddle.jcuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cuda.CudaInterop;
import dev.heddle.engine.cuda.CudaLibraries;
import java.lang.ref.Reference;
import java.util.function.Consumer;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;

/**
 * {@link CudaInterop} in JCuda's types; it works with either binding of the engine. For the runtime API and the libraries over
 * it, {@code new cudaStream_t(stream)} is the same stream, and {@link CUdeviceptr} is a {@link Pointer}.
 *
 * <pre>{@code
 * Tensor y = x.mul(2).eval();
 * JCudaInterop.run(device, stream -> {
 *     JCublas2.cublasSetStream(handle, new cudaStream_t(stream));
 *     JCublas2.cublasSscal(handle, n, factor, target, 1);        // after y was computed
 *     JCublas2.cublasSaxpy(handle, n, factor, JCudaInterop.pointer(y), 1, target, 1);
 * });
 * Tensor z = JCudaInterop.copyOf(device, target, DType.F32, y.shape(), JCudaInterop.stream(device));
 * }</pre>
 *
 * <p>The engine uses the primary context, as JCuda's runtime API does. Driver API programs take it with
 * {@code cuDevicePrimaryCtxRetain} instead of {@code cuCtxCreate}; see {@link CudaInterop#makeCurrent}.
 */
public final class JCudaInterop {
    static {
        CudaLibraries.load("libcuda"); // before JCuda's natives look for it, so that there is one
    }

    private JCudaInterop() {
    }

    /** An address that keeps its tensor. */
    private static final class TensorPointer extends CUdeviceptr {
        private final Tensor tensor;

        private TensorPointer(Tensor tensor) {
            this.tensor = tensor;
        }

        private TensorPointer(TensorPointer start, long byteOffset) {
            super(start, byteOffset);
            tensor = start.tensor;
        }

        @Override
        public CUdeviceptr withByteOffset(long byteOffset) {
            return new TensorPointer(this, byteOffset);
        }

        @Override
        public String toString() {
            return super.toString() + " of " + tensor.shape();
        }
    }

    /**
     * The address of a tensor's values, contiguous and row-major; the tensor is evaluated if it was not. The pointer, and what
     * {@link CUdeviceptr#withByteOffset} makes of it, keeps the tensor's memory: hold on to it until the work that reads it was
     * put on the engine's stream, or the engine waits for it; {@link Tensor#close()} ends it at once. Read only.
     *
     * @throws IllegalArgumentException if the tensor is not on a CUDA device
     */
    public static CUdeviceptr pointer(Tensor x) {
        return Handles.set(new TensorPointer(x), CudaInterop.address(x));
    }

    /** The engine's stream. Put work on it only within {@link #run}. */
    public static CUstream stream(Device device) {
        return Handles.stream(CudaInterop.stream(device));
    }

    /** The engine's context, the device's primary one. */
    public static CUcontext context(Device device) {
        return Handles.set(new CUcontext(), CudaInterop.context(device));
    }

    /** Puts work on the engine's stream, see {@link CudaInterop#run}. */
    public static void run(Device device, Consumer<CUstream> work) {
        CudaInterop.run(device, stream -> work.accept(Handles.stream(stream)));
    }

    /** Lets what the engine is given from now on start after everything that is on a stream; null is the default stream. */
    public static void waitFor(Device device, CUstream stream) {
        CudaInterop.waitFor(device, handle(stream));
    }

    /** Lets what is put on a stream from now on start after everything that the engine was given; null is the default stream. */
    public static void waitForEngine(Device device, CUstream stream) {
        CudaInterop.waitForEngine(device, handle(stream));
    }

    private static long handle(CUstream stream) {
        return stream == null ? 0 : Handles.get(stream);
    }

    /**
     * A tensor with a copy of device memory, made in order with the work of a stream, see {@link CudaInterop#copyOf}.
     *
     * @param values contiguous and row-major, in memory of the device: from {@code cuMemAlloc} or {@code cudaMalloc}
     * @param stream where they are made; null is the default stream
     */
    public static Tensor copyOf(Device device, Pointer values, DType dtype, Shape shape, CUstream stream) {
        return CudaInterop.copyOf(device, Handles.address(values), dtype, shape, handle(stream));
    }

    /**
     * A tensor of values that stay where they are, see {@link CudaInterop#borrow}. The pointer object is kept alive as long as
     * the tensor needs the memory.
     *
     * @param values contiguous and row-major, in memory of the device, at a multiple of 64
     * @param release called once, when the tensor is closed or unreachable and no kernel reads the memory any more, for example
     *     {@code () -> JCudaDriver.cuMemFree(values)}
     */
    public static Tensor borrow(Device device, Pointer values, DType dtype, Shape shape, Runnable release) {
        return CudaInterop.borrow(device, Handles.address(values), dtype, shape, () -> {
            release.run();
            Reference.reachabilityFence(values);
        });
    }
}
