// Checks that the catalogue tells the truth: each kernel is in its file, compiles, and has the name it says.
package dev.heddle.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.FusedKernels;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.HashSet;
import java.util.List;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

class CatalogueTest {
    /** Runs as nothing, and looks up every kernel of the catalogue when it is planned for CUDA. */
    private record EveryKernel() implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return inputs;
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            return List.of(inputs.getFirst().add(1));
        }

        @Override
        public String name() {
            return "every_kernel";
        }
    }

    /** Found by the service loader. */
    public static final class Provider implements FusedKernels {
        static final Set<String> FOUND = new HashSet<>();

        @Override
        public boolean supports(Fused op, List<Spec> inputs) {
            return op instanceof EveryKernel;
        }

        @Override
        public Kernel kernel(Fused op, List<Layout> inputs, List<Layout> outputs, Cuda cuda) {
            for (Catalogue kernel : Catalogue.values()) {
                for (String function : kernel.functions()) {
                    cuda.launch(kernel.file(), function); // throws if there is none
                    FOUND.add(function);
                }
            }
            return cuda.clear(1, outputs.getFirst().spec().bytes());
        }
    }

    @Test
    void everyFunctionIsInItsFile() {
        Assumptions.assumeTrue(Devices.CUDA, "only a CUDA compiler finds them");
        Devices.needsTheDevice();
        Tensor x = Tensor.of(new float[] {1, 2}).eval();
        assertArrayEquals(new float[2], Tensor.recordAll(new EveryKernel(), List.of(x)).getFirst().toFloatArray());
        assertTrue(Provider.FOUND.containsAll(Stream.of(Catalogue.values()).flatMap(k -> k.functions().stream()).toList()));
    }

    @Test
    void namesAreOfTheFormFamilyOpDtype() {
        assertEquals(List.of("softmax_forward_f32", "softmax_forward_bf16", "softmax_forward_f16"), Catalogue.SOFTMAX_FORWARD.functions());
        assertTrue(Catalogue.ATTENTION_BACKWARD_KV.functions().contains("attention_backward_kv_d96_f16"));
        for (Catalogue kernel : Catalogue.values()) {
            assertFalse(kernel.computes().isBlank());
            assertNotNull(Cuda.class.getResource("/dev/heddle/cuda-src/" + kernel.file()), kernel.file());
        }
    }

    @Test
    void theEngineFindsTheProvider() {
        assertTrue(ServiceLoader.load(FusedKernels.class).stream().anyMatch(p -> p.type() == FusedCudaKernels.class));
    }
}
