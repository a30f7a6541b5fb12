// Sharing memory and streams with other CUDA libraries of the same process: JCuda, JavaCPP, LWJGL, one's own natives. All of
// them pass addresses and handles as numbers, so does this.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.TensorMemory;
import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Spec;
import java.util.function.LongConsumer;

/**
 * Addresses of tensors, tensors at addresses, and the order of work. Handles are those of the CUDA driver: {@code CUdeviceptr},
 * {@code CUstream}, {@code CUcontext}. The engine uses the primary context of a device, as the CUDA runtime does; libraries that
 * use another cannot share memory with it.
 *
 * <p>Work on the GPU runs behind the back of Java, so its order must be said. Either it is put on the engine's own stream, within
 * {@link #run}:
 *
 * <pre>{@code
 * Tensor y = x.mul(2).eval();
 * CudaInterop.run(device, stream -> launchMyKernel(CudaInterop.address(y), stream)); // after y was computed
 * Reference.reachabilityFence(y);
 * }</pre>
 *
 * <p>or on another stream, between two waits:
 *
 * <pre>{@code
 * CudaInterop.waitForEngine(device, mine); // what follows on my stream starts after what the engine was given
 * launchMyKernel(address, mine);
 * CudaInterop.waitFor(device, mine);       // and what the engine is given now, after that
 * }</pre>
 *
 * <p>The values of a tensor are fixed: do not write to its address. To make values, write to memory of your own and
 * {@link #copyOf copy} or {@link #borrow} it.
 */
public final class CudaInterop {
    private static final int ALIGNMENT = 64;

    private CudaInterop() {
    }

    private static CudaBackend backend(Device device) {
        if (device.type() != Device.Type.CUDA) {
            throw new IllegalArgumentException("cuda: " + device + " is no CUDA device");
        }
        CudaBackend backend = (CudaBackend) TensorMemory.backend(device);
        backend.device.enter();
        return backend;
    }

    /**
     * The address of a tensor's values, contiguous and row-major; the tensor is evaluated if it was not. It is valid until the
     * tensor is closed or has become unreachable: keep the tensor, with {@link java.lang.ref.Reference#reachabilityFence} if
     * need be, until the work that reads it has been put on the engine's stream, or the engine waits for it. A variable's memory
     * has the next value after the next step.
     *
     * @throws IllegalArgumentException if the tensor is not on a CUDA device
     */
    public static long address(Tensor x) {
        backend(x.device());
        return TensorMemory.buffer(x).address();
    }

    /** The stream on which the engine launches everything but uploads. Put work on it only within {@link #run}. */
    public static long stream(Device device) {
        return backend(device).device.stream;
    }

    /** The device's primary context, which is the engine's. */
    public static long context(Device device) {
        return backend(device).device.context;
    }

    /**
     * Makes the engine's context current on the calling thread. The engine does that when a thread first uses a device; a thread
     * that then made another context current must call this before it uses the engine again.
     */
    public static void makeCurrent(Device device) {
        Driver.ctxSetCurrent(backend(device).device.context);
    }

    /**
     * Puts work on the engine's stream. It runs after everything that the engine was given before, and before everything that
     * it is given afterwards. No evaluation launches or captures anything meanwhile; so do not wait for another thread's.
     *
     * @param work gets the stream
     */
    public static void run(Device device, LongConsumer work) {
        CudaBackend backend = backend(device);
        TensorMemory.exclusively(() -> {
            work.accept(backend.device.stream);
            backend.launched();
        });
    }

    /**
     * Milliseconds, to about half a microsecond, from when the device has done what the engine was given before to when it has done
     * what {@code work} gives the engine on this thread; waits for that. Gaps in which the device waits for the host count.
     */
    public static double milliseconds(Device device, Runnable work) {
        backend(device); // makes it current on this thread
        long start = Driver.eventCreate(Driver.CU_EVENT_DEFAULT);
        long end = Driver.eventCreate(Driver.CU_EVENT_DEFAULT);
        try {
            run(device, stream -> Driver.eventRecord(start, stream));
            work.run();
            run(device, stream -> Driver.eventRecord(end, stream));
            Driver.eventSynchronize(end);
            return Driver.eventElapsedTime(start, end);
        } finally {
            Driver.eventDestroy(start);
            Driver.eventDestroy(end);
        }
    }

    /** Lets what the engine is given from now on start after everything that is on a stream; 0 is the default stream. */
    public static void waitFor(Device device, long stream) {
        run(device, engine -> order(stream, engine));
    }

    /** Lets what is put on a stream from now on start after everything that the engine was given; 0 is the default stream. */
    public static void waitForEngine(Device device, long stream) {
        run(device, engine -> order(engine, stream));
    }

    private static void order(long first, long second) {
        long event = Driver.eventCreate(Driver.CU_EVENT_DISABLE_TIMING);
        try {
            Driver.eventRecord(event, first);
            Driver.streamWaitEvent(second, event);
        } finally {
            Driver.eventDestroy(event); // what waits for it still does
        }
    }

    /**
     * A tensor with a copy of values in device memory. Nothing waits on the host: the copy runs after what is on {@code stream}
     * now, and what is put on {@code stream} afterwards, freeing included, runs after the copy.
     *
     * @param address of contiguous, row-major values
     * @param stream where the values are made; 0 is the default stream
     * @throws IllegalArgumentException if the address is 0, as that of memory of the host may be
     */
    public static Tensor copyOf(Device device, long address, DType dtype, Shape shape, long stream) {
        CudaBackend backend = backend(device);
        Spec spec = spec(address, dtype, shape);
        Buffer buffer = Buffer.allocate(backend.memory, spec.bytes(), "copy of " + spec);
        waitFor(device, stream);
        run(device, _ -> backend.memory.copy(address, buffer.address(), spec.bytes()));
        waitForEngine(device, stream);
        return TensorMemory.tensor(buffer, dtype, shape, device);
    }

    /**
     * A tensor of values that stay where they are. They must be there when the engine comes to read them (see {@link #waitFor}),
     * and must not change as long as the tensor is in use.
     *
     * @param address of contiguous, row-major values, a multiple of 64
     * @param release called once, when the tensor is closed or was found unreachable and no kernel of the engine reads the
     *     memory any more: frees it, or hands it back to its owner. It is called on whichever thread notices, and what it
     *     refers to is kept alive until then
     * @throws IllegalArgumentException if the address is 0 or not a multiple of 64
     */
    public static Tensor borrow(Device device, long address, DType dtype, Shape shape, Runnable release) {
        CudaBackend backend = backend(device);
        if (address % ALIGNMENT != 0) {
            throw new IllegalArgumentException("cuda: 0x" + Long.toHexString(address) + " is not a multiple of " + ALIGNMENT
                    + ", which kernels need; copyOf takes any address");
        }
        Spec spec = spec(address, dtype, shape);
        Buffer buffer = Buffer.borrow(backend.memory, address, spec.bytes(), "borrowed " + spec, () -> {
            backend.memory.awaitFence();
            release.run();
        });
        return TensorMemory.tensor(buffer, dtype, shape, device);
    }

    private static Spec spec(long address, DType dtype, Shape shape) {
        Spec spec = new Spec(dtype, shape);
        if (address == 0 && spec.bytes() > 0) {
            throw new IllegalArgumentException("cuda: " + spec + " at address 0, which is not memory of the device");
        }
        return spec;
    }
}
