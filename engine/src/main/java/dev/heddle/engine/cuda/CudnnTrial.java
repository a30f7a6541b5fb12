// cuDNN answers no questions about what it supports: it is asked to do something once, before a plan relies on it.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.plan.Kernel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Runs a kernel on scratch memory. */
final class CudnnTrial {
    private static final Logger LOG = LoggerFactory.getLogger(CudnnTrial.class);
    private static final int NOT_SUPPORTED = 3; // thousands of CUDNN_STATUS_NOT_SUPPORTED and its kinds

    private CudnnTrial() {}

    /**
     * Whether a kernel runs: not if cuDNN says that it does not support it, nor where there is no memory to try.
     *
     * @param what for the log
     * @param bytes of each of the kernel's operands and, if it has one, its workspace
     */
    static boolean succeeds(CudaMemory memory, String what, Kernel kernel, long... bytes) {
        long[] blocks = new long[bytes.length];
        int allocated = 0;
        try {
            for (; allocated < blocks.length; allocated++) {
                blocks[allocated] = memory.allocate(bytes[allocated]);
            }
            kernel.run(blocks);
            return true;
        } catch (DeviceOutOfMemoryException e) {
            LOG.info("cuda: no memory to try {} in cuDNN; done without it", what);
            return false;
        } catch (CudaException e) {
            if (e.status() / 1000 != NOT_SUPPORTED) {
                throw e;
            }
            LOG.info("cuda: {} is not supported by cuDNN: {}", what, e.getMessage());
            return false;
        } finally {
            for (int i = 0; i < allocated; i++) {
                memory.free(blocks[i], bytes[i]);
            }
        }
    }
}
