// The models of the comparison are the same on both sides: the losses of their first steps agree.
package dev.heddle.bench.peer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@EnabledOnOs(value = OS.LINUX, architectures = "amd64", disabledReason = "libtorch is fetched for Linux on x86-64 only")
class SidesTest {
    static {
        System.setProperty("peer.threads", "1"); // on a busy machine OpenMP's threads wait for each other
    }

    @ParameterizedTest
    @EnumSource(Workload.class)
    void lossesAgree(Workload workload) {
        int batch = 3;
        HeddleSide heddle = new HeddleSide(workload, batch, DType.F32);
        LibTorchSide libtorch = new LibTorchSide(workload, batch, false);
        for (int step = 0; step < 2; step++) {
            double expected = libtorch.step(false);
            assertEquals(expected, heddle.step(false), 1e-4 * expected, "step " + step);
        }
    }

    @Test
    void lossesAgreeInSixteenBits() {
        double expected = new HeddleSide(Workload.MLP, 16, DType.F32).step(false);
        double autocast = new LibTorchSide(Workload.MLP, 16, true).step(false);
        assertTrue(Math.abs(autocast - expected) > 1e-5, "autocast changes nothing");
        assertEquals(expected, autocast, 1e-2 * expected);
        assertEquals(expected, new HeddleSide(Workload.MLP, 16, DType.BF16).step(false), 1e-2 * expected);
    }

    @Test
    void resNetHasElevenMillionParameters() {
        // 11,173,962: the ResNet-18 for CIFAR of He et al. with 1x1 convolutions as shortcuts
        assertEquals(11_173_962, Arrays.stream(Workload.RESNET18.shapes).mapToLong(s -> Arrays.stream(s).reduce(1, Math::multiplyExact)).sum());
        assertEquals("[64, 3, 32, 32]", Arrays.toString(Workload.RESNET18.inputShape(64)));
        assertEquals("[16, 128]", Arrays.toString(Workload.GPT.inputShape(16)));
    }

    @Test
    void settingsDifferInNameAndThreads() throws Exception {
        for (String library : new String[] {"heddle", "libtorch", "djl"}) {
            var candidates = Setting.candidates(library);
            assertEquals(candidates.size(), candidates.stream().map(Setting::name).distinct().count());
            assertTrue(candidates.getFirst().name().contains(Integer.toString(Setting.threads())));
        }
    }
}
