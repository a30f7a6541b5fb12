// What the engine keeps for each device that is used.
package dev.heddle.engine;

import dev.heddle.engine.cpu.CpuBackend;
import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.plan.Backend;
import dev.heddle.engine.plan.PlanCache;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** A device's backend and its plans. */
record Runtime(Backend backend, PlanCache plans) {
    private static final int PLANS_KEPT = Integer.getInteger("heddle.planCache", 256);
    private static final Map<Device, Runtime> RUNTIMES = new ConcurrentHashMap<>();

    /**
     * The runtime of a device, started if this is the first use.
     *
     * @throws DeviceUnavailableException if the device cannot be used
     */
    static Runtime of(Device device) {
        Runtime runtime = RUNTIMES.get(device);
        return runtime != null ? runtime : RUNTIMES.computeIfAbsent(device, Runtime::start);
    }

    private static Runtime start(Device device) {
        Backend backend = switch (device.type()) {
            case CPU -> new CpuBackend();
            case CUDA -> new CudaBackend(device);
        };
        return new Runtime(backend, new PlanCache(backend, PLANS_KEPT));
    }

    static long plansCompiled() {
        return RUNTIMES.values().stream().mapToLong(runtime -> runtime.plans.compiled()).sum();
    }

    DeviceMemory memory() {
        return backend.memory();
    }
}
