// How long the device needs: by the host's clock on the CPU, by events on the engine's stream on a GPU.
package dev.heddle.bench.kernel;

import dev.heddle.engine.Device;
import dev.heddle.engine.cuda.CudaInterop;

/** Times work that the calling thread gives a device. */
final class Stopwatch {
    private final Device device;

    Stopwatch(Device device) {
        this.device = device;
    }

    /** Seconds from the work's start on the device to its end there; waits for it. */
    double seconds(Runnable work) {
        if (device.type() == Device.Type.CUDA) {
            return CudaInterop.milliseconds(device, work) / 1e3;
        }
        long start = System.nanoTime();
        work.run();
        return (System.nanoTime() - start) / 1e9;
    }
}
