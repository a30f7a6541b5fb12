// Kernels of your own: CUDA C++ from a string or a file becomes an operation on tensors.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Function;

/**
 * An operation that runs your kernel. It is recorded, planned and replayed like any other, so it costs nothing extra in a
 * training step:
 *
 * <pre>{@code
 * CudaKernel saxpy = CudaKernel.of("""
 *     extern "C" __global__ void saxpy(float* out, const float* x, const float* y, float a, int n) {
 *         int i = blockIdx.x * blockDim.x + threadIdx.x;
 *         if (i < n) { out[i] = a * x[i] + y[i]; }
 *     }""", "saxpy")
 *     .output(DType.F32, in -> in.get(0).shape())
 *     .launch((k, in) -> k.output(0).input(0).input(1).value(2f).value((int) in.get(0).shape().elements())
 *         .threads(in.get(0).shape().elements()))
 *     .meaning(in -> List.of(in.get(0).mul(2).add(in.get(1))))
 *     .build();
 * Tensor z = saxpy.apply(x, y).getFirst();
 * }</pre>
 *
 * <p>Inputs reach the kernel contiguous. The source is compiled when it is first used and kept on disk. Make a kernel once and
 * apply it often: two objects of one source are two operations.
 */
public final class CudaKernel {
    private final String name;
    private final String source;
    private final List<Function<List<Spec>, Spec>> outputs;
    private final BiConsumer<Arguments, List<Spec>> launch;
    private final Function<List<Tensor>, List<Tensor>> meaning;
    private final Backward backward;

    /** The gradients for the inputs, recorded; null where an input has none. */
    @FunctionalInterface
    public interface Backward {
        /**
         * Records the gradients.
         *
         * @param gradients for each output, null where none flows
         */
        List<Tensor> gradients(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients);
    }

    private CudaKernel(Builder b) {
        name = b.name;
        source = b.source;
        outputs = List.copyOf(b.outputs);
        launch = b.launch;
        meaning = b.meaning;
        backward = b.backward;
        if (outputs.isEmpty() || launch == null) {
            throw new IllegalArgumentException("kernel " + name + ": needs an output and a launch");
        }
    }

    /** A kernel from CUDA C++ text; {@code name} is that of its {@code extern "C" __global__} function. */
    public static Builder of(String source, String name) {
        return new Builder(source, name);
    }

    /**
     * A kernel from a file.
     *
     * @throws IOException if it cannot be read
     */
    public static Builder of(Path file, String name) throws IOException {
        return new Builder(Files.readString(file), name);
    }

    /** Records the operation; gives its outputs. */
    public List<Tensor> apply(Tensor... inputs) {
        return Tensor.recordAll(new Custom(this), List.of(inputs));
    }

    /** Describes a kernel; outputs and launch are needed, the rest is not. */
    public static final class Builder {
        private final String source;
        private final String name;
        private final List<Function<List<Spec>, Spec>> outputs = new ArrayList<>();
        private BiConsumer<Arguments, List<Spec>> launch;
        private Function<List<Tensor>, List<Tensor>> meaning;
        private Backward backward;

        private Builder(String source, String name) {
            this.source = source;
            this.name = name;
        }

        /** Adds an output: its dtype, and its shape from the inputs' dtypes and shapes. */
        public Builder output(DType dtype, Function<List<Spec>, Shape> shape) {
            outputs.add(inputs -> new Spec(dtype, shape.apply(inputs)));
            return this;
        }

        /** Says, for inputs of given dtypes and shapes, what arguments the kernel gets and how many threads run it. */
        public Builder launch(BiConsumer<Arguments, List<Spec>> launch) {
            this.launch = launch;
            return this;
        }

        /**
         * The outputs in terms of other operations: what runs on other devices, what tests can compare with, and, without
         * {@link #backward}, what is differentiated.
         */
        public Builder meaning(Function<List<Tensor>, List<Tensor>> meaning) {
            this.meaning = meaning;
            return this;
        }

        /** The gradients. */
        public Builder backward(Backward backward) {
            this.backward = backward;
            return this;
        }

        /** The kernel; nothing is compiled yet. */
        public CudaKernel build() {
            return new CudaKernel(this);
        }
    }

    /** A kernel's arguments, in the order of its parameters, and its geometry. */
    public static final class Arguments {
        private final Launch.Builder launch;
        private final int inputs;

        private Arguments(Launch.Builder launch, int inputs) {
            this.launch = launch;
            this.inputs = inputs;
        }

        /** A pointer to an input's elements. */
        public Arguments input(int i) {
            launch.pointer(i);
            return this;
        }

        /** A pointer to an output's elements. */
        public Arguments output(int i) {
            launch.pointer(inputs + i);
            return this;
        }

        /** A {@code long long}. */
        public Arguments value(long value) {
            launch.value(value);
            return this;
        }

        /** An {@code int}. */
        public Arguments value(int value) {
            launch.value(value);
            return this;
        }

        /** A {@code float}. */
        public Arguments value(float value) {
            launch.value(value);
            return this;
        }

        /** A {@code double}. */
        public Arguments value(double value) {
            launch.value(value);
            return this;
        }

        /** Blocks of 256 threads, at least so many threads in all. */
        public Arguments threads(long threads) {
            launch.grid(Math.max(1, (threads + 255) / 256), 1, 1).block(256, 1, 1);
            return this;
        }

        /** Number of blocks. */
        public Arguments grid(long x, long y, long z) {
            launch.grid(x, y, z);
            return this;
        }

        /** Threads of a block. */
        public Arguments block(int x, int y, int z) {
            launch.block(x, y, z);
            return this;
        }

        /** Dynamic shared memory of a block, in bytes. */
        public Arguments shared(int bytes) {
            launch.shared(bytes);
            return this;
        }
    }

    /** The operation as the graph knows it. */
    record Custom(CudaKernel kernel) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return kernel.outputs.stream().map(output -> output.apply(inputs)).toList();
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            if (kernel.meaning == null) {
                throw new IllegalStateException("kernel " + kernel.name + " runs on CUDA only: it was built without a meaning in other operations");
            }
            return kernel.meaning.apply(inputs);
        }

        @Override
        public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
            return kernel.backward != null ? kernel.backward.gradients(inputs, outputs, gradients)
                    : Fused.super.gradient(inputs, outputs, gradients);
        }

        Kernel kernel(List<Spec> inputs, Cuda cuda) {
            Launch.Builder builder = cuda.source(kernel.source, kernel.name);
            kernel.launch.accept(new Arguments(builder, inputs.size()), inputs);
            return builder.build();
        }

        @Override
        public String name() {
            return kernel.name;
        }
    }
}
