// What makers of CUDA kernels need to know of a device.
package dev.heddle.engine.cuda;

import dev.heddle.engine.plan.Kernel;
import java.util.List;

/** A started CUDA device, as seen by {@link FusedKernels}. */
public final class Cuda {
    private final CudaDevice device;
    private final CudaModules modules;
    private final long indexError;

    Cuda(CudaDevice device, CudaModules modules, long indexError) {
        this.device = device;
        this.modules = modules;
        this.indexError = indexError;
    }

    /** Number of multiprocessors: a kernel wants a few blocks for each. */
    public int multiprocessors() {
        return device.multiprocessors;
    }

    /** Shared memory that a block can have, in bytes. */
    public int sharedBytesPerBlock() {
        return device.sharedBytesPerBlock;
    }

    /** Compute capability, for example 90. */
    public int computeCapability() {
        return Integer.parseInt(device.architecture.substring(3));
    }

    /**
     * A launch of a kernel from a file of {@code cuda-src}.
     *
     * @param defines in front of the source, for example {@code "ONLY_D 64"}
     * @throws CudaException if there is no such file or kernel, or it does not compile
     */
    public Launch.Builder launch(String file, String kernel, String... defines) {
        StringBuilder source = new StringBuilder();
        for (String define : defines) {
            source.append("#define ").append(define).append('\n');
        }
        return source(source + CudaModules.file(file), kernel);
    }

    /** A launch of a kernel from CUDA C++ text, which may include {@code common.cuh}. */
    public Launch.Builder source(String source, String kernel) {
        return Launch.of(device, modules.function(source, kernel), kernel);
    }

    /** Address of the two 64-bit words through which kernels report an index out of range: 1, and the index. */
    public long indexError() {
        return indexError;
    }

    /** Sets bytes of an operand to zero. */
    public Kernel clear(int operand, long bytes) {
        return addresses -> {
            if (bytes > 0) {
                Driver.memsetD8Async(addresses[operand], (byte) 0, bytes, device.stream);
            }
        };
    }

    /** Kernels one behind the other, on the same operands and the same workspace. */
    public static Kernel sequence(List<? extends Kernel> kernels) {
        return Kernels.Sequence.of(kernels);
    }
}
