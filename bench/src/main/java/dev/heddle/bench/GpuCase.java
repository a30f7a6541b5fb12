// What the cases of the GPU benchmark compute.
package dev.heddle.bench;

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
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.function.UnaryOperator;

/**
 * A computation, its inputs on the GPU, and what it must cost: every input read once, every output written once.
 *
 * @param inputs the first {@code rows} of them share their first axis with the first output, row by row; with {@code ALL} rows, each
 *     row of the output depends on all of the input
 */
record GpuCase(String name, double bytes, double flops, double tolerance, List<Tensor> inputs, int rows, UnaryOperator<List<Tensor>> function)
        implements AutoCloseable {
    private static final int CHECKED = 1; // rows at each end
    private static final int ALL = -1;

    /** The case of a name. */
    static GpuCase of(String name) {
        String[] words = name.split(" ");
        DType dtype = DType.valueOf(words[1].toUpperCase(Locale.ROOT));
        long[] d = GpuBench.extents(words[2]);
        double n = 1;
        for (long extent : d) {
            n *= extent;
        }
        double size = dtype.bytes();
        long last = d[d.length - 1];
        double tolerance = dtype == DType.F32 ? 1e-4 : 1e-2;
        Tensor x = words[0].matches("matmul|linear.*|conv.*|.*pool|batchnorm.*|adamw") ? null : GpuBench.randn(1, dtype, d);
        return switch (words[0]) {
            case "add" -> new GpuCase(name, 3 * n * size, n, tolerance, List.of(x, GpuBench.randn(2, dtype, d)), 2,
                    in -> List.of(in.get(0).add(in.get(1))));
            case "gelu" -> new GpuCase(name, 2 * n * size, 0, tolerance, List.of(x), 1, in -> List.of(in.get(0).map(Activations::gelu)));
            case "chain" -> new GpuCase(name, 4 * n * size, 0, tolerance, List.of(x, GpuBench.randn(2, dtype, d), GpuBench.randn(3, dtype, d)), 3,
                    in -> List.of(in.get(0).mul(in.get(1)).add(in.get(2)).tanh()));
            case "sum" -> new GpuCase(name, n * size, n, tolerance, List.of(x), 1, in -> List.of(in.get(0).sum(-1)));
            case "softmax" -> new GpuCase(name, 2 * n * size, 0, tolerance, List.of(x), 1, in -> List.of(Functional.softmax(in.get(0), -1)));
            case "layernorm" -> new GpuCase(name, 2 * n * size, 0, tolerance, List.of(x, GpuBench.randn(2, dtype, last), GpuBench.randn(3, dtype, last)), 1,
                    in -> List.of(Functional.layerNorm(in.get(0), in.get(1), in.get(2), 1e-5)));
            case "layernorm_backward" -> layerNormBackward(name, 3 * n * size, tolerance, x, dtype, last);
            case "rmsnorm" -> new GpuCase(name, 2 * n * size, 0, tolerance, List.of(x, GpuBench.randn(2, dtype, last)), 1,
                    in -> List.of(Functional.rmsNorm(in.get(0), in.get(1), 1e-6)));
            case "crossentropy" -> new GpuCase(name, 2 * n * size, 0, tolerance, List.of(x, new Generator(2).randint(0, last, d[0]).eval()), 2, in -> {
                Tensor loss = Functional.crossEntropy(in.get(0), in.get(1), -100, 0);
                return List.of(loss, Gradients.of(loss.sum(), in.get(0)).getFirst());
            });
            case "matmul" -> new GpuCase(name, (d[0] * d[2] + d[2] * d[1] + d[0] * d[1]) * size, 2 * n, tolerance,
                    List.of(GpuBench.randn(1, dtype, d[0], d[2]), GpuBench.randn(2, dtype, d[2], d[1])), 1, in -> List.of(in.get(0).matmul(in.get(1))));
            case "linear", "linear_relu", "linear_gelu" -> new GpuCase(name, (d[0] * d[2] + d[2] * d[1] + d[0] * d[1]) * size, 2 * n, tolerance,
                    List.of(GpuBench.randn(1, dtype, d[0], d[2]), GpuBench.randn(2, dtype, d[1], d[2]), GpuBench.randn(3, dtype, d[1])), 1, in -> {
                        Tensor y = Functional.linear(in.get(0), in.get(1), in.get(2));
                        return List.of(words[0].equals("linear") ? y : words[0].equals("linear_relu") ? y.relu() : y.map(Activations::gelu));
                    });
            case "conv", "conv_bias" -> new GpuCase(name, 2 * n * size, 2 * n * 9 * d[1], tolerance, // as many channels out as in, 3 x 3, same size
                    List.of(GpuBench.randn(1, dtype, d), GpuBench.randn(2, dtype, d[1], d[1], 3, 3), GpuBench.randn(3, dtype, d[1])), 1,
                    in -> List.of(Functional.conv2d(in.get(0), in.get(1), words[0].equals("conv") ? null : in.get(2), 1, 1, 1, 1)));
            case "maxpool", "avgpool" -> new GpuCase(name, 1.25 * n * size, 0, tolerance, List.of(images(1, dtype, d)), 1, in -> { // 3 x 3, to half the size
                Tensor images = in.getFirst().permute(0, 3, 1, 2);
                return List.of(words[0].equals("maxpool") ? Functional.maxPool2d(images, 3, 2, 1) : Functional.avgPool2d(images, 3, 2, 1, true));
            });
            case "batchnorm" -> new GpuCase(name, 2 * n * size, 0, tolerance, List.of(images(1, dtype, d), GpuBench.randn(2, DType.F32, d[1]),
                    GpuBench.randn(3, DType.F32, d[1])), ALL, in -> Functional.batchNorm(in.get(0).permute(0, 3, 1, 2), in.get(1), in.get(2), 1e-5));
            case "batchnorm_backward" -> new GpuCase(name, 3 * n * size, 0, tolerance, List.of(images(1, dtype, d), GpuBench.randn(2, DType.F32, d[1]),
                    GpuBench.randn(3, DType.F32, d[1]), GpuBench.randn(4, DType.F32, d[1]).abs().eval(), images(5, dtype, d)), ALL,
                    in -> Tensor.recordAll(new BatchNorm.Backward(1e-5), List.of(in.get(0).permute(0, 3, 1, 2), in.get(1), in.get(2), in.get(3),
                            in.get(4).permute(0, 3, 1, 2))));
            case "attention", "attention_causal", "attention_backward" -> attention(words[0], name, n, size, x, dtype, d);
            case "adamw" -> adamw(name, d[0]);
            default -> throw new IllegalArgumentException(name + ": no such case");
        };
    }

    private static GpuCase layerNormBackward(String name, double bytes, double tolerance, Tensor x, DType dtype, long last) {
        Tensor weight = GpuBench.randn(2, dtype, last);
        List<Tensor> forward = Tensor.recordAll(new LayerNorm(1e-5), List.of(x, weight, weight));
        Tensor.eval(forward.toArray(new Tensor[0]));
        Tensor gradient = GpuBench.randn(4, dtype, x.shape().dims());
        return new GpuCase(name, bytes, 0, tolerance, List.of(x, forward.get(1), forward.get(2), gradient, weight), 4,
                in -> Tensor.recordAll(new LayerNorm.Backward(), List.of(in.get(0), in.get(4), in.get(1), in.get(2), in.get(3))));
    }

    /** {@code (B, H, T, D)}; the backward case is causal too, and includes the forward pass. */
    private static GpuCase attention(String kind, String name, double n, double size, Tensor q, DType dtype, long[] d) {
        boolean causal = !kind.equals("attention");
        boolean backward = kind.equals("attention_backward");
        Tensor k = GpuBench.randn(2, dtype, d);
        Tensor v = GpuBench.randn(3, dtype, d);
        double flops = 4 * n * d[2] * (causal ? 0.5 : 1) * (backward ? 3.5 : 1);
        return new GpuCase(name, (backward ? 12 : 4) * n * size, flops, 2e-2, backward ? List.of(q, k, v, GpuBench.randn(4, dtype, d)) : List.of(q, k, v),
                backward ? 4 : 3, in -> {
                    Tensor y = Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2), causal);
                    return backward ? Gradients.of(y.mul(in.get(3)).sum(), in.get(0), in.get(1), in.get(2)) : List.of(y);
                });
    }

    /** AdamW on about so many parameters in matrices of 768 columns; reads parameter, gradient and moments, writes all but the gradient. */
    private static GpuCase adamw(String name, long count) {
        List<Variable> parameters = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        for (long left = count; left > 0; left -= gradients.getLast().elements()) {
            long rows = Math.clamp(left / 768, 1, gradients.isEmpty() ? 50304 : 3072);
            gradients.add(GpuBench.randn(gradients.size(), DType.F32, rows, Math.min(left, 768)));
            parameters.add(new Variable("p" + parameters.size(), gradients.getLast(), true));
        }
        Optimizer optimizer = AdamW.of(parameters).build();
        UnaryOperator<List<Tensor>> step = in -> {
            Tensor loss = null; // one that costs nothing; its gradients are then replaced
            for (Variable p : parameters) {
                Tensor one = p.value().slice(0, 0, 1).slice(1, 0, 1).sum();
                loss = loss == null ? one : loss.add(one);
            }
            Gradients backward = loss.backward();
            Iterator<Tensor> given = backward.variables().stream().map(v -> gradients.get(parameters.indexOf(v))).iterator();
            optimizer.step(backward.map(g -> given.next()));
            return List.of(loss);
        };
        return new GpuCase(name, 28.0 * count, 0, 0, gradients, 0, step);
    }

    /** Random images of extents {@code (N, C, H, W)}, as {@code (N, H, W, C)}: so a convolution leaves them in memory. */
    private static Tensor images(long seed, DType dtype, long[] d) {
        return GpuBench.randn(seed, dtype, d[0], d[2], d[3], d[1]);
    }

    /** Computes, without waiting for the result. */
    void run() {
        List<Tensor> outputs = function.apply(inputs);
        Tensor.eval(outputs.toArray(new Tensor[0]));
        outputs.forEach(Tensor::close);
    }

    /** The relative error of the outputs' first and last rows, or of all of them, compared with the CPU; 0 for a case without rows. */
    double check() {
        if (rows == 0) {
            return 0;
        }
        List<Tensor> outputs = function.apply(inputs);
        Tensor.eval(outputs.toArray(new Tensor[0]));
        long n = inputs.getFirst().dim(0);
        double worst = 0;
        for (long[] part : rows == ALL ? new long[][] {{0, n}} : new long[][] {{0, CHECKED}, {n - CHECKED, n}}) {
            List<Tensor> some = new ArrayList<>();
            for (int i = 0; i < inputs.size(); i++) {
                some.add((i < rows ? inputs.get(i).slice(0, part[0], part[1]) : inputs.get(i)).to(Device.cpu()));
            }
            List<Tensor> expected = function.apply(some);
            for (int k = 0; k < outputs.size(); k++) {
                if (rows == ALL || outputs.get(k).dim(0) == n) {
                    Tensor seen = rows == ALL ? outputs.get(k) : outputs.get(k).slice(0, part[0], part[1]);
                    double error = GpuBench.error(expected.get(k).toDoubleArray(), seen.toDoubleArray());
                    worst = error <= worst ? worst : error; // NaN stays
                }
            }
        }
        outputs.forEach(Tensor::close);
        return worst;
    }

    @Override
    public void close() {
        inputs.forEach(Tensor::close);
    }
}
