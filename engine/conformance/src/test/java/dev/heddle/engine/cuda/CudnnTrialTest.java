// What is made of cuDNN's answers when it is asked to do something once. Runs on a GPU, or on the stand-in of CUDA's libraries.
package dev.heddle.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Device;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class CudnnTrialTest {
    @BeforeEach
    void needsCuda() {
        String reason = CudaBackend.unavailable(0);
        Assumptions.assumeTrue(reason == null, "cuda: " + reason);
    }

    private static CudaException failure(int status) {
        return new CudaException("cudnnPoolingForward", status, "CUDNN_STATUS", "", 0);
    }

    @Test
    void whatIsNotSupportedIsDoneOtherwiseAndAllElseIsAnError() {
        CudaMemory memory = new CudaBackend(new Device(Device.Type.CUDA, 0)).memory;
        long before = memory.statistics().inUse();
        assertTrue(CudnnTrial.succeeds(memory, "a trial", addresses -> assertEquals(2, addresses.length), 100, 1000));
        assertFalse(CudnnTrial.succeeds(memory, "a trial", addresses -> { throw failure(3000).in("pooling"); }, 100));
        assertFalse(CudnnTrial.succeeds(memory, "a trial", addresses -> { throw failure(3007); }, 100)); // a kind of it
        assertFalse(CudnnTrial.succeeds(memory, "a trial", addresses -> { }, 100, 1L << 50), "no memory");
        assertThrows(CudaException.class, () -> CudnnTrial.succeeds(memory, "a trial", addresses -> { throw failure(2000); }, 100));
        assertEquals(before, memory.statistics().inUse());
    }
}
