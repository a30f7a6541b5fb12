// Which device the tests run on, and whether what ran there were kernels.
package dev.heddle.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.op.Fused;
import org.junit.jupiter.api.Assumptions;

/** What {@code -Dheddle.device} asks for. */
final class Devices {
    static final boolean CUDA = "cuda".equals(System.getProperty("heddle.device"));

    private Devices() {}

    /** Skips the tests, with the reason, where the device they were asked to run on is not there. */
    static void needsTheDevice() {
        if (CUDA) {
            String reason = CudaBackend.unavailable(0);
            Assumptions.assumeTrue(reason == null, "cuda: " + reason);
        }
    }

    /** Fails unless the last plan ran a kind of fused op as a step, or did not, as it should. */
    static void assertKernel(boolean expected, Class<? extends Fused> op, DType dtype, String what) {
        boolean step = Debug.lastPlan().steps().stream().anyMatch(s -> op.isInstance(s.op()));
        assertEquals(expected && dtype != DType.F64, step, what + " in " + dtype + " as one step of\n" + Debug.lastPlan());
    }

    /** Largest error, relative to the largest element. */
    static double tolerance(DType dtype) {
        return switch (dtype) {
            case F64 -> 1e-12;
            case F32 -> 1e-5;
            case F16 -> 5e-3;
            default -> 3e-2;
        };
    }
}
