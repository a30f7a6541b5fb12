// How to write a CUDA kernel of one's own and use it in a model: squared ReLU with a dropout mask computed beside it.
package dev.heddle.samples;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cuda.CudaKernel;
import java.util.List;

/**
 * Records a kernel with two outputs, checks it against its meaning, and differentiates through it. Run it with
 * {@code -Dheddle.device=cuda}; without, the meaning runs on the CPU.
 */
final class UserKernel {
    private static final String SOURCE = """
            // y = relu(x)^2 and positive = x > 0, a thread an element
            extern "C" __global__ void squared_relu(float* y, float* positive, const float* x, long long n) {
                long long i = (long long) blockIdx.x * blockDim.x + threadIdx.x;
                if (i < n) {
                    float r = x[i] > 0 ? x[i] : 0;
                    y[i] = r * r;
                    positive[i] = x[i] > 0;
                }
            }
            """;

    /** {@code x (...) F32 -> (relu(x)^2, 1 where x is positive)} (So et al., "Primer", 2021). */
    static final CudaKernel SQUARED_RELU = CudaKernel.of(SOURCE, "squared_relu")
            .output(DType.F32, in -> in.getFirst().shape())
            .output(DType.F32, in -> in.getFirst().shape())
            .launch((k, in) -> k.output(0).output(1).input(0).value(in.getFirst().shape().elements())
                    .threads(in.getFirst().shape().elements()))
            .meaning(in -> List.of(in.getFirst().relu().square(), in.getFirst().gt(0).to(DType.F32)))
            .backward((in, out, gradients) -> List.of(gradients.getFirst().mul(in.getFirst()).mul(out.get(1)).mul(2)))
            .build();

    private UserKernel() {}

    /** Compares the kernel and its gradient with what they should be, and prints the largest differences. */
    public static void main(String[] arguments) {
        Tensor x = new Generator(1).randn(64, 1000).eval();
        Tensor y = SQUARED_RELU.apply(x).getFirst();
        Tensor expected = x.relu().square();
        System.out.println("on " + Device.current() + ": value differs by " + y.sub(expected).abs().max().item());
        Tensor slope = Gradients.of(SQUARED_RELU.apply(x).getFirst().sum(), x).getFirst();
        System.out.println("gradient differs by " + slope.sub(x.relu().mul(2)).abs().max().item());
    }
}
