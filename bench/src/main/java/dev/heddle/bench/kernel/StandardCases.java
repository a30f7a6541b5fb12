// The kernels of `heddle bench kernels`; gpu/peers/kernels.py times the same in PyTorch, LibTorchKernels in libtorch.
package dev.heddle.bench.kernel;

import static dev.heddle.bench.kernel.KernelCase.randn;

import dev.heddle.engine.Activations;
import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.fused.BatchNorm;
import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.training.AdamW;
import dev.heddle.training.Optimizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/**
 * A standard case is a kernel, a dtype and extents: {@code "softmax bf16 131072x1024"}; a product's extents are {@code MxNxK}, those of images
 * {@code NxCxHxW} and lie channels-last in memory, as convolutions leave them; attention's are {@code BxHxTxD}.
 */
final class StandardCases {
    private static final List<String> CPU = List.of("add f32 4096x4096", "gelu f32 4096x4096", "chain f32 4096x4096", "sum f32 16384x1024",
            "softmax f32 16384x1024", "layernorm f32 16384x1024", "layernorm_backward f32 16384x1024", "rmsnorm f32 16384x1024",
            "crossentropy f32 2048x8192", "matmul f32 512x512x512", "matmul f32 1024x1024x1024", "matmul f32 512x768x3072",
            "matmul bf16 1024x1024x1024", "matmul bf16 512x768x3072", "linear_gelu f32 512x3072x768", "conv f32 32x64x56x56",
            "conv_1x1 f32 32x64x56x56", "conv_stride2 f32 32x64x56x56", "conv f32 32x256x14x14", "maxpool f32 32x64x112x112",
            "batchnorm f32 64x64x56x56", "batchnorm_backward f32 64x64x56x56", "attention f32 4x8x512x64", "attention_causal f32 4x8x512x64",
            "attention_backward f32 4x8x512x64", "adamw f32 10000000");
    private static final List<String> CUDA = List.of("add f32 8192x8192", "add bf16 16384x8192", "gelu f32 8192x8192", "gelu bf16 16384x8192",
            "chain bf16 16384x8192", "sum f32 65536x1024", "softmax f32 65536x1024", "softmax bf16 131072x1024", "layernorm f32 65536x1024",
            "layernorm bf16 131072x1024", "layernorm_backward bf16 131072x1024", "rmsnorm bf16 131072x1024", "crossentropy bf16 8192x50304",
            "matmul bf16 8192x8192x8192", "matmul f16 8192x8192x8192", "matmul f32 4096x4096x4096", "matmul bf16 8192x3072x768",
            "linear bf16 8192x3072x768", "linear_relu bf16 8192x3072x768", "linear_gelu bf16 8192x3072x768", "conv f32 32x64x56x56",
            "conv bf16 32x64x56x56", "conv_bias bf16 32x64x56x56", "maxpool bf16 64x64x112x112", "avgpool bf16 64x64x112x112",
            "batchnorm bf16 64x64x56x56", "batchnorm f32 64x64x56x56", "batchnorm_backward bf16 64x64x56x56", "attention bf16 8x16x1024x64",
            "attention_causal bf16 8x16x1024x64", "attention_causal bf16 2x16x4096x128", "attention_backward bf16 8x16x1024x64", "adamw f32 124439808");
    private static final List<String> QUICK = List.of("add f32 16x64", "gelu bf16 16x64", "chain bf16 16x64", "sum f32 16x64", "softmax f32 16x64",
            "layernorm bf16 16x64", "layernorm_backward bf16 16x64", "rmsnorm bf16 16x64", "crossentropy bf16 16x40", "matmul bf16 32x32x32",
            "linear bf16 16x32x32", "linear_relu bf16 16x32x32", "linear_gelu bf16 16x32x32", "conv f32 4x4x8x8", "conv_bias bf16 4x8x8x8",
            "conv_1x1 f32 4x4x8x8", "conv_stride2 f32 4x4x8x8", "maxpool bf16 4x8x8x8", "avgpool bf16 4x8x8x8", "batchnorm bf16 4x8x8x8",
            "batchnorm f32 4x8x8x8", "batchnorm_backward bf16 4x8x8x8", "attention bf16 2x2x16x32", "attention_causal bf16 2x2x16x32",
            "attention_backward bf16 2x2x16x32", "adamw f32 10000");

    /** How many extents each kernel takes. */
    private static final Map<String, Integer> RANKS = new TreeMap<>();

    static {
        List.of("add", "gelu", "chain", "sum", "softmax", "layernorm", "layernorm_backward", "rmsnorm", "crossentropy").forEach(k -> RANKS.put(k, 2));
        List.of("matmul", "linear", "linear_relu", "linear_gelu").forEach(k -> RANKS.put(k, 3));
        List.of("conv", "conv_bias", "conv_1x1", "conv_stride2", "maxpool", "avgpool", "batchnorm", "batchnorm_backward", "attention",
                "attention_causal", "attention_backward").forEach(k -> RANKS.put(k, 4));
        RANKS.put("adamw", 1);
    }

    private StandardCases() {}

    /** The names of a device's cases: of sizes that fit it, or, quick, too small to say how fast anything is. */
    static List<String> names(Device device, boolean quick) {
        return quick ? QUICK : device.type() == Device.Type.CPU ? CPU : CUDA;
    }

    /**
     * The case of a name.
     *
     * @throws IllegalArgumentException if there is no such kernel, or it takes other extents or dtypes
     */
    static KernelCase of(String name) {
        String[] words = name.split(" ", -1);
        if (words.length != 3 || !RANKS.containsKey(words[0])) {
            throw new IllegalArgumentException("kernel case '" + name + "': expected KERNEL DTYPE EXTENTS, such as 'softmax f32 16384x1024'; kernels are "
                    + String.join(", ", RANKS.keySet()));
        }
        if (!words[1].matches("f32|bf16|f16")) {
            throw new IllegalArgumentException("kernel case '" + name + "': expected f32, bf16 or f16, got '" + words[1] + "'");
        }
        if (!words[2].matches("[1-9]\\d{0,9}(x[1-9]\\d{0,9}){" + (RANKS.get(words[0]) - 1) + "}")) {
            throw new IllegalArgumentException("kernel case '" + name + "': " + words[0] + " takes " + RANKS.get(words[0]) + " extents, got '"
                    + words[2] + "'");
        }
        return of(name, words[0], DType.valueOf(words[1].toUpperCase(Locale.ROOT)), Arrays.stream(words[2].split("x")).mapToLong(Long::parseLong).toArray());
    }

    private static KernelCase of(String name, String kernel, DType dtype, long[] d) {
        double n = Arrays.stream(d).asDoubleStream().reduce(1, (a, b) -> a * b);
        long last = d[d.length - 1];
        return switch (kernel) {
            case "add" -> KernelCase.of(name, seed -> random(seed, dtype, d, d), in -> List.of(in.get(0).add(in.get(1)))).rows(2).flops(n);
            case "gelu" -> KernelCase.of(name, seed -> random(seed, dtype, d), in -> List.of(in.get(0).map(Activations::gelu))).rows(1);
            case "chain" -> KernelCase.of(name, seed -> random(seed, dtype, d, d, d),
                    in -> List.of(in.get(0).mul(in.get(1)).add(in.get(2)).tanh())).rows(3);
            case "sum" -> KernelCase.of(name, seed -> random(seed, dtype, d), in -> List.of(in.get(0).sum(-1))).rows(1).flops(n);
            case "softmax" -> KernelCase.of(name, seed -> random(seed, dtype, d), in -> List.of(Functional.softmax(in.get(0), -1))).rows(1);
            case "layernorm" -> KernelCase.of(name, seed -> random(seed, dtype, d, one(last), one(last)),
                    in -> List.of(Functional.layerNorm(in.get(0), in.get(1), in.get(2), 1e-5))).rows(1);
            case "layernorm_backward" -> layerNormBackward(name, dtype, d);
            case "rmsnorm" -> KernelCase.of(name, seed -> random(seed, dtype, d, one(last)),
                    in -> List.of(Functional.rmsNorm(in.get(0), in.get(1), 1e-6))).rows(1);
            case "crossentropy" -> KernelCase.of(name, seed -> List.of(randn(seed, dtype, d), new Generator(~seed).randint(0, last, d[0]).eval()), in -> {
                Tensor loss = Functional.crossEntropy(in.get(0), in.get(1), -100, 0); // (N)
                return List.of(loss, Gradients.of(loss.sum(), in.get(0)).getFirst());
            }).rows(2);
            case "matmul" -> KernelCase.of(name, seed -> random(seed, dtype, new long[] {d[0], d[2]}, new long[] {d[2], d[1]}),
                    in -> List.of(in.get(0).matmul(in.get(1)))).rows(1).flops(2 * n); // (M, N)
            case "linear", "linear_relu", "linear_gelu" -> KernelCase.of(name,
                    seed -> random(seed, dtype, new long[] {d[0], d[2]}, new long[] {d[1], d[2]}, one(d[1])), in -> {
                        Tensor y = Functional.linear(in.get(0), in.get(1), in.get(2)); // (M, N)
                        return List.of(kernel.equals("linear") ? y : kernel.equals("linear_relu") ? y.relu() : y.map(Activations::gelu));
                    }).rows(1).flops(2 * n);
            case "conv", "conv_bias" -> convolution(name, dtype, d, d[1], 3, 1, kernel.equals("conv_bias"));
            case "conv_1x1" -> convolution(name, dtype, d, 4 * d[1], 1, 1, false); // as at the end of a bottleneck block of ResNet-50
            case "conv_stride2" -> convolution(name, dtype, d, 2 * d[1], 3, 2, false); // as at the start of a stage of ResNet-18
            case "maxpool" -> KernelCase.of(name, seed -> random(seed, dtype, images(d)),
                    in -> List.of(channelsLast(Functional.maxPool2d(channelsFirst(in.get(0)), 3, 2, 1)))).rows(1);
            case "avgpool" -> KernelCase.of(name, seed -> random(seed, dtype, images(d)),
                    in -> List.of(channelsLast(Functional.avgPool2d(channelsFirst(in.get(0)), 3, 2, 1, true)))).rows(1);
            case "batchnorm" -> KernelCase.of(name, seed -> List.of(randn(seed, dtype, images(d)), randn(seed + 1, DType.F32, d[1]), randn(seed + 2, DType.F32, d[1])),
                    in -> firstChannelsLast(Functional.batchNorm(channelsFirst(in.get(0)), in.get(1), in.get(2), 1e-5)));
            case "batchnorm_backward" -> KernelCase.of(name, seed -> List.of(randn(seed, dtype, images(d)), randn(seed + 1, DType.F32, d[1]),
                    randn(seed + 2, DType.F32, d[1]), randn(seed + 3, DType.F32, d[1]).abs().eval(), randn(seed + 4, dtype, images(d))),
                    in -> firstChannelsLast(Tensor.recordAll(new BatchNorm.Backward(1e-5),
                            List.of(channelsFirst(in.get(0)), in.get(1), in.get(2), in.get(3), channelsFirst(in.get(4))))));
            case "attention", "attention_causal", "attention_backward" -> attention(name, kernel, n, dtype, d);
            case "adamw" -> adamw(name, d[0]);
            default -> throw new AssertionError(kernel);
        };
    }

    /** Same padding of an odd kernel, square. */
    private static KernelCase convolution(String name, DType dtype, long[] d, long out, int size, int stride, boolean bias) {
        long[] weights = {out, d[1], size, size};
        double positions = (double) d[0] * ((d[2] - 1) / stride + 1) * ((d[3] - 1) / stride + 1);
        return KernelCase.of(name, seed -> bias ? random(seed, dtype, images(d), weights, one(out)) : random(seed, dtype, images(d), weights),
                in -> List.of(channelsLast(Functional.conv2d(channelsFirst(in.get(0)), in.get(1), bias ? in.get(2) : null, stride, size / 2, 1, 1))))
                .rows(1).flops(2 * positions * out * d[1] * size * size);
    }

    private static KernelCase layerNormBackward(String name, DType dtype, long[] d) {
        return KernelCase.of(name, seed -> {
            Tensor x = randn(seed, dtype, d);
            Tensor weight = randn(seed + 1, dtype, d[1]);
            List<Tensor> forward = Tensor.recordAll(new LayerNorm(1e-5), List.of(x, weight, weight));
            Tensor.eval(forward.toArray(new Tensor[0]));
            return List.of(x, forward.get(1), forward.get(2), randn(seed + 2, dtype, d), weight);
        }, in -> Tensor.recordAll(new LayerNorm.Backward(), List.of(in.get(0), in.get(4), in.get(1), in.get(2), in.get(3)))).rows(4);
    }

    /** The backward case is causal too, and includes the forward pass. */
    private static KernelCase attention(String name, String kernel, double n, DType dtype, long[] d) {
        boolean causal = !kernel.equals("attention");
        boolean backward = kernel.equals("attention_backward");
        return KernelCase.of(name, seed -> backward ? random(seed, dtype, d, d, d, d) : random(seed, dtype, d, d, d), in -> {
            Tensor y = Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2), causal);
            return backward ? Gradients.of(y.mul(in.get(3)).sum(), in.get(0), in.get(1), in.get(2)) : List.of(y);
        }).rows(backward ? 4 : 3).flops(4 * n * d[2] * (causal ? 0.5 : 1) * (backward ? 3.5 : 1)).tolerance(dtype == DType.F32 ? 1e-4 : 2e-2);
    }

    /**
     * AdamW on about so many parameters in matrices of 768 columns; reads parameter, gradient and moments, writes all but the gradient.
     * Checked in its first step, in which {@code m / sqrt(v)} is the gradient's sign; parameters begin at their gradients.
     */
    private static KernelCase adamw(String name, long count) {
        double rate = 1e-3; // AdamW's own choice, as the next two
        double decay = 0.01;
        double epsilon = 1e-8;
        List<Variable> parameters = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        Optimizer[] optimizer = new Optimizer[1];
        UnaryOperator<List<Tensor>> step = in -> {
            Tensor loss = null; // one that costs nothing; its gradients are then replaced
            for (Variable p : parameters) {
                Tensor one = p.value().slice(0, 0, 1).slice(1, 0, 1).sum();
                loss = loss == null ? one : loss.add(one);
            }
            Gradients backward = loss.backward();
            Iterator<Tensor> given = backward.variables().stream().map(v -> in.get(parameters.indexOf(v))).iterator();
            optimizer[0].step(backward.map(g -> given.next()));
            loss.close();
            return List.of(parameters.getFirst().value());
        };
        return KernelCase.of(name, seed -> {
            if (optimizer[0] == null) {
                for (long left = count; left > 0; left -= gradients.getLast().elements()) {
                    long rows = Math.clamp(left / 768, 1, gradients.isEmpty() ? 50304 : 3072);
                    gradients.add(randn(gradients.size(), DType.F32, rows, Math.min(left, 768)));
                    parameters.add(new Variable("p" + parameters.size(), gradients.getLast(), true));
                }
                optimizer[0] = AdamW.of(parameters).build();
            }
            return gradients;
        }, step).reference(in -> {
            Tensor g = in.getFirst();
            return List.of(g.mul(1 - rate * decay).sub(g.div(g.abs().add(epsilon)).mul(rate)));
        }).rows(1).bytes(28.0 * count);
    }

    private static List<Tensor> random(long seed, DType dtype, long[]... shapes) {
        List<Tensor> tensors = new ArrayList<>();
        for (long[] shape : shapes) {
            tensors.add(randn(16 * seed + tensors.size(), dtype, shape));
        }
        return tensors;
    }

    private static long[] one(long extent) {
        return new long[] {extent};
    }

    /** The extents {@code (N, C, H, W)} in the order in which images lie in memory. */
    private static long[] images(long[] d) {
        return new long[] {d[0], d[2], d[3], d[1]};
    }

    private static Tensor channelsFirst(Tensor x) {
        return x.permute(0, 3, 1, 2); // (N, C, H, W)
    }

    private static Tensor channelsLast(Tensor x) {
        return x.permute(0, 2, 3, 1); // (N, H, W, C)
    }

    private static List<Tensor> firstChannelsLast(List<Tensor> outputs) {
        List<Tensor> all = new ArrayList<>(outputs);
        all.set(0, channelsLast(all.getFirst()));
        return all;
    }
}
