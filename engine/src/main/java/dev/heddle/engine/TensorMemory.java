// The memory behind tensors, for the engine's other packages; users who share memory with other libraries have CudaInterop.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Backend;

/** Tensors as buffers and buffers as tensors. Part of the engine, not of its interface. */
public final class TensorMemory {
    private TensorMemory() {
    }

    /** The buffer with the contiguous values of a tensor, which is evaluated if it was not. */
    public static Buffer buffer(Tensor x) {
        return Evaluation.read(x);
    }

    /** A tensor whose contiguous values lie in a buffer, which is then its own. */
    public static Tensor tensor(Buffer buffer, DType dtype, Shape shape, Device device) {
        return HostData.leaf(buffer, new Spec(dtype, shape), device);
    }

    /** The backend of a device, started if this is the first use. */
    public static Backend backend(Device device) {
        return Runtime.of(device).backend();
    }

    /** Does something while no evaluation launches anything. */
    public static void exclusively(Runnable work) {
        Evaluation.exclusively(() -> {
            work.run();
            return null;
        });
    }
}
