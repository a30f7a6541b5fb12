// One GPU: its primary context and the streams that all work of the engine goes through.
package dev.heddle.engine.cuda;

import dev.heddle.engine.Device;
import dev.heddle.engine.DeviceUnavailableException;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A device, started. Kernels, graphs and copies between device memory run in the order they were launched, on the compute
 * stream; uploads on the copy stream, so that a batch travels while the step before runs.
 */
final class CudaDevice {
    private static final int OLDEST_MAJOR = 8; // Ampere: what cuda-src is written for

    final Device device;
    final long stream;
    final long copyStream;
    final int multiprocessors;
    final int sharedBytesPerBlock; // after asking for more than the default 48 KiB
    final String architecture; // sm_90
    final String name; // NVIDIA H200
    final long context;
    /**
     * Held while the compute stream is captured, and by whoever puts something on it from elsewhere: that would become part of the
     * graph, or spoil it.
     */
    final ReentrantLock capturing = new ReentrantLock();
    private final ThreadLocal<Boolean> entered = ThreadLocal.withInitial(() -> false);

    /**
     * Starts a device.
     *
     * @throws DeviceUnavailableException with the reason why it cannot be used
     */
    CudaDevice(Device device) {
        String reason = unavailable(device.index());
        if (reason != null) {
            throw new DeviceUnavailableException(device, reason);
        }
        this.device = device;
        int handle = Driver.device(device.index());
        context = Driver.primaryCtxRetain(handle);
        enter();
        stream = Driver.streamCreate(Driver.CU_STREAM_NON_BLOCKING);
        copyStream = Driver.streamCreate(Driver.CU_STREAM_NON_BLOCKING);
        multiprocessors = Driver.deviceAttribute(Driver.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, handle);
        sharedBytesPerBlock = Driver.deviceAttribute(Driver.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, handle);
        architecture = architecture(handle);
        name = Driver.deviceName(handle);
    }

    /** {@code sm_} and the compute capability. */
    static String architecture(int handle) {
        int major = Driver.deviceAttribute(Driver.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, handle);
        int minor = Driver.deviceAttribute(Driver.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, handle);
        return "sm_" + major + minor;
    }

    /** Why a device cannot be used, or null if it can. */
    static String unavailable(int index) {
        for (NativeLibrary library : List.of(CudaLibraries.DRIVER, CudaLibraries.NVRTC)) {
            if (!library.load()) {
                return library.name + " was not found: " + String.join("; ", library.tried());
            }
        }
        try {
            Driver.init();
            int count = Driver.deviceCount();
            if (index >= count) {
                return "there are " + count + " CUDA devices";
            }
            int handle = Driver.device(index);
            int major = Driver.deviceAttribute(Driver.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, handle);
            return major >= OLDEST_MAJOR ? null
                    : Driver.deviceName(handle) + " is " + architecture(handle) + "; sm_80 (Ampere) is the oldest that is supported";
        } catch (CudaException e) {
            return e.getMessage();
        }
    }

    /** Makes the device current on the calling thread; every other call on it needs that. */
    void enter() {
        if (!entered.get()) {
            Driver.ctxSetCurrent(context);
            entered.set(true);
        }
    }
}
