// The functions that layers are made of, for those who want them without a layer. Names follow PyTorch's functional module.
package dev.heddle.engine;

import dev.heddle.engine.fused.BatchNorm;
import dev.heddle.engine.fused.CrossEntropy;
import dev.heddle.engine.fused.Dropout;
import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.engine.fused.Recurrent;
import dev.heddle.engine.fused.RecurrentCell;
import dev.heddle.engine.fused.RmsNorm;
import dev.heddle.engine.fused.ScaledDotProductAttention;
import dev.heddle.engine.fused.Softmax;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Window;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;

/** Neural-network functions on tensors. Images are {@code (N, C, H, W)}, sequences {@code (N, C, L)}. */
public final class Functional {
    private Functional() {}

    // ---- linear, convolution, pooling

    /** {@code x W^T + b} with {@code x (..., I)}, {@code weight (O, I)}, {@code bias (O)} or null. */
    public static Tensor linear(Tensor x, Tensor weight, Tensor bias) {
        if (weight.rank() != 2 || x.rank() < 1 || x.dim(-1) != weight.dim(1)) {
            throw new ShapeException("linear: input " + x.shape() + " with weight " + weight.shape());
        }
        Tensor y = x.rank() <= 2 ? x.matmul(weight.t())
                : x.reshape(-1, x.dim(-1)).matmul(weight.t()).reshape(x.shape().with(x.rank() - 1, weight.dim(0)).dims());
        return bias == null ? y : y.add(bias); // (..., O)
    }

    /**
     * N-d cross-correlation of {@code x (N, C, *X)} with {@code weight (O, C/groups, *K)}, the number of spatial axes, 1
     * to 3, being the window's.
     *
     * @param bias {@code (O)} or null
     * @return {@code (N, O, *Y)}
     */
    public static Tensor conv(Tensor x, Tensor weight, Tensor bias, Window window, int groups) {
        Tensor y = Tensor.record(Convolution.forward(window, groups), List.of(x, weight));
        return bias == null ? y : y.add(perChannel(bias, window.dims()));
    }

    /** {@link #conv} over two axes with one stride, zero padding and dilation for both. */
    public static Tensor conv2d(Tensor x, Tensor weight, Tensor bias, int stride, int padding, int dilation, int groups) {
        return conv(x, weight, bias, window(2, stride, padding, dilation), groups);
    }

    /** {@link #conv} over one axis. */
    public static Tensor conv1d(Tensor x, Tensor weight, Tensor bias, int stride, int padding, int dilation, int groups) {
        return conv(x, weight, bias, window(1, stride, padding, dilation), groups);
    }

    /**
     * Transposed convolution, the gradient of {@link #conv} with respect to its input: {@code x (N, O, *Y)},
     * {@code weight (O, C/groups, *K)}.
     *
     * @param outputPadding added to the extent of each output axis, less than the stride
     * @return {@code (N, C, *X)} with {@code X = (Y - 1) stride - 2 padding + dilation (K - 1) + 1 + outputPadding}
     */
    public static Tensor convTranspose(Tensor x, Tensor weight, Tensor bias, Window window, int groups, int outputPadding) {
        int d = window.dims();
        if (x.rank() != d + 2 || weight.rank() != d + 2) {
            throw new ShapeException("conv_transpose: input " + x.shape() + " with weight " + weight.shape());
        }
        long[] target = new long[d + 2];
        target[0] = x.dim(0);
        target[1] = weight.dim(1) * groups;
        for (int i = 0; i < d; i++) {
            target[i + 2] = (x.dim(i + 2) - 1) * window.stride().get(i) - window.before().get(i) - window.after().get(i)
                    + window.dilation().get(i) * (weight.dim(i + 2) - 1) + 1 + outputPadding;
        }
        Convolution op = Convolution.forward(window, groups).backward(Convolution.Direction.BACKWARD_DATA, Shape.of(target));
        Tensor y = Tensor.record(op, List.of(x, weight));
        return bias == null ? y : y.add(perChannel(bias, d));
    }

    /** A window of {@code d} axes with the same stride, padding on both sides and dilation along each. */
    public static Window window(int d, int stride, int padding, int dilation) {
        return new Window(repeat(d, stride), repeat(d, padding), repeat(d, padding), repeat(d, dilation));
    }

    private static List<Integer> repeat(int n, int value) {
        Integer[] values = new Integer[n];
        Arrays.fill(values, value);
        return List.of(values);
    }

    private static Tensor perChannel(Tensor bias, int spatial) {
        long[] dims = new long[spatial + 1];
        Arrays.fill(dims, 1);
        dims[0] = bias.elements();
        return bias.reshape(dims); // (C, 1, ...)
    }

    /** Maximum over square windows of {@code (N, C, H, W)}; padding never wins. */
    public static Tensor maxPool2d(Tensor x, int kernel, int stride, int padding) {
        return pool(Pooling.Kind.MAX, x, 2, kernel, stride, padding, true);
    }

    /** Mean over square windows of {@code (N, C, H, W)}; padding counts as zeros if {@code countPadding}. */
    public static Tensor avgPool2d(Tensor x, int kernel, int stride, int padding, boolean countPadding) {
        return pool(Pooling.Kind.AVG, x, 2, kernel, stride, padding, countPadding);
    }

    /** Pooling over the last {@code d} axes with a cubic window. */
    public static Tensor pool(Pooling.Kind kind, Tensor x, int d, int kernel, int stride, int padding, boolean countPadding) {
        return pool(new Pooling(kind, Pooling.Direction.FORWARD, repeat(d, kernel), window(d, stride, padding, 1),
                countPadding, null), x);
    }

    /** Pooling of any geometry; {@code op} is a {@code FORWARD} one. */
    public static Tensor pool(Pooling op, Tensor x) {
        return Tensor.record(op, List.of(x));
    }

    /**
     * Mean over {@code height x width} nearly equal regions: region {@code i} of {@code n} over an extent {@code s} covers
     * {@code [floor(i s / n), ceil((i + 1) s / n))}, as in PyTorch.
     */
    public static Tensor adaptiveAvgPool2d(Tensor x, int height, int width) {
        if (x.rank() != 4 || height < 1 || width < 1) {
            throw new ShapeException("adaptive_avg_pool2d: input " + x.shape() + " to " + height + " x " + width);
        }
        return averageRegions(averageRegions(x, 2, height), 3, width); // (N, C, height, width)
    }

    private static Tensor averageRegions(Tensor x, int axis, int regions) {
        long extent = x.dim(axis);
        if (regions == 1) {
            return x.mean(true, axis);
        }
        if (extent % regions == 0) {
            long[] dims = new long[x.rank() + 1];
            for (int i = 0; i < dims.length; i++) {
                dims[i] = i == axis ? regions : i == axis + 1 ? extent / regions : x.dim(i < axis ? i : i - 1);
            }
            return x.reshape(dims).mean(axis + 1);
        }
        Tensor[] means = new Tensor[regions];
        for (int i = 0; i < regions; i++) {
            means[i] = x.slice(axis, i * extent / regions, ((i + 1) * extent + regions - 1) / regions).mean(true, axis);
        }
        return Tensor.concat(axis, means);
    }

    // ---- softmax, norms

    /** {@code e^x / sum e^x} along an axis. */
    public static Tensor softmax(Tensor x, int axis) {
        return alongLast(new Softmax(false), x, axis);
    }

    /** The logarithm of {@link #softmax}, computed without its loss of precision. */
    public static Tensor logSoftmax(Tensor x, int axis) {
        return alongLast(new Softmax(true), x, axis);
    }

    private static Tensor alongLast(Softmax op, Tensor x, int axis) {
        int at = x.shape().axis(op.name(), axis);
        int last = x.rank() - 1;
        Tensor y = Tensor.record(op, List.of(x.transpose(at, last)));
        return y.transpose(at, last);
    }

    /** Layer normalisation over the last axis: {@code x (..., D)}, {@code weight (D)}, {@code bias (D)}. */
    public static Tensor layerNorm(Tensor x, Tensor weight, Tensor bias, double eps) {
        return Tensor.recordAll(new LayerNorm(eps), List.of(x, weight, bias)).getFirst();
    }

    /** Root-mean-square normalisation over the last axis: {@code x (..., D)}, {@code weight (D)}. */
    public static Tensor rmsNorm(Tensor x, Tensor weight, double eps) {
        return Tensor.recordAll(new RmsNorm(eps), List.of(x, weight)).getFirst();
    }

    /**
     * Normalisation with given statistics, as batch norm does it: {@code (x - mean) / sqrt(var + eps) * weight + bias},
     * everything {@code (C)} but {@code x (N, C, ...)}; weight and bias may be null.
     */
    public static Tensor normalize(Tensor x, Tensor mean, Tensor variance, Tensor weight, Tensor bias, double eps) {
        int spatial = x.rank() - 2;
        Tensor scale = variance.add(eps).rsqrt();
        if (weight != null) {
            scale = scale.mul(weight);
        }
        Tensor y = x.sub(perChannel(mean, spatial)).mul(perChannel(scale, spatial));
        return bias == null ? y : y.add(perChannel(bias, spatial));
    }

    /**
     * Normalisation of each channel of {@code x (N, C, ...)} by its own mean and variance: {@code weight}, {@code bias (C)}.
     *
     * @return {@code y}, shaped as {@code x}; the mean {@code (C)} and the biased variance {@code (C)}, in {@code F32} if {@code x}
     *     has 16 bits
     */
    public static List<Tensor> batchNorm(Tensor x, Tensor weight, Tensor bias, double eps) {
        DType wide = x.dtype().computeType();
        return Tensor.recordAll(new BatchNorm(eps), List.of(x, weight.to(wide), bias.to(wide))).subList(0, 3);
    }

    /** Normalisation of {@code (N, C, ...)} over each of {@code groups} groups of channels (Wu and He, 2018). */
    public static Tensor groupNorm(Tensor x, int groups, Tensor weight, Tensor bias, double eps) {
        if (x.rank() < 2 || groups < 1 || x.dim(1) % groups != 0) {
            throw new ShapeException("group_norm: " + groups + " groups for input " + x.shape());
        }
        Tensor g = x.reshape(x.dim(0), groups, -1); // (N, G, C/G * ...)
        Tensor centred = g.sub(g.mean(true, 2));
        Tensor normal = centred.mul(centred.square().mean(true, 2).add(eps).rsqrt()).reshape(x.shape().dims());
        int spatial = x.rank() - 2;
        return normal.mul(perChannel(weight, spatial)).add(perChannel(bias, spatial));
    }

    // ---- recurrent

    /**
     * One direction of one recurrent layer over {@code x (B, T, I)}: weights {@code (G H, I)} and {@code (G H, H)}, biases {@code (G H)},
     * with the {@code G} gates of the cell.
     *
     * @param reverse whether time runs from the last element to the first
     * @param states to begin with, {@code (B, H)} each
     * @param lengths {@code (B) I64}, how many elements of each sequence count; null for all
     * @return the outputs {@code (B, T, H)}, 0 behind the end of a sequence, then the last states {@code (B, H)}
     */
    public static List<Tensor> recurrent(RecurrentCell cell, boolean reverse, Tensor x, Tensor inputWeight, Tensor hiddenWeight,
            Tensor inputBias, Tensor hiddenBias, List<Tensor> states, Tensor lengths) {
        List<Tensor> inputs = new ArrayList<>(List.of(x, inputWeight, hiddenWeight, inputBias, hiddenBias));
        inputs.addAll(states);
        if (lengths != null) {
            inputs.add(lengths.to(DType.I64));
        }
        return Tensor.recordAll(new Recurrent(cell, reverse), inputs);
    }

    // ---- recomputation

    /**
     * {@code function(x)}, whose intermediate results are not kept for the gradient but computed again from {@code x} when it is
     * ("activation checkpointing", Chen et al., 2016): the same values, random ones too. The function may use other tensors.
     */
    public static Tensor recompute(UnaryOperator<Tensor> function, Tensor x) {
        return Recomputation.of(function, x);
    }

    // ---- attention

    /**
     * {@code softmax(q k^T / sqrt(D)) v}, see {@link ScaledDotProductAttention}.
     *
     * @param q {@code (B, H, T, D)}
     * @param k {@code (B, G, S, D)}, {@code H} a multiple of {@code G}
     * @param v {@code (B, G, S, D)}
     * @param causal whether query {@code i} sees no key behind {@code i}
     * @return {@code (B, H, T, D)}
     * @throws ShapeException if the shapes or dtypes do not fit
     */
    public static Tensor scaledDotProductAttention(Tensor q, Tensor k, Tensor v, boolean causal) {
        return scaledDotProductAttention(q, k, v, null, null, causal, 0, null);
    }

    /**
     * The same where only the first {@code lengths[b]} keys of sequence {@code b} count; 0 for queries that see none.
     *
     * @param lengths {@code I32 (B)}
     */
    public static Tensor scaledDotProductAttention(Tensor q, Tensor k, Tensor v, Tensor lengths, boolean causal) {
        return scaledDotProductAttention(q, k, v, lengths, null, causal, 0, null);
    }

    /**
     * {@code dropout(softmax(q k^T / sqrt(D) + bias)) v}.
     *
     * @param lengths {@code I32 (B)}, how many keys count, or null for all
     * @param bias broadcasts to {@code (B, H, T, S)}, of the dtype of {@code q}, or null for none; or {@code BOOL}, true where a query
     *     sees a key; negative infinity hides a key too. A query that sees none gives 0
     * @param dropout the probability that a query misses a key
     * @param generator decides which; not used, and may be null, without dropout
     * @throws ShapeException if the shapes or dtypes do not fit
     */
    public static Tensor scaledDotProductAttention(Tensor q, Tensor k, Tensor v, Tensor lengths, Tensor bias, boolean causal, double dropout,
            Generator generator) {
        List<Tensor> inputs = new ArrayList<>(List.of(q, k, v));
        if (lengths != null) {
            inputs.add(lengths);
        }
        if (bias != null) {
            Tensor added = bias.dtype() != DType.BOOL ? bias
                    : bias.where(Tensor.scalar(0, q.dtype()), Tensor.scalar(10 * ScaledDotProductAttention.HIDDEN, q.dtype()));
            while (added.rank() < 4) {
                added = added.unsqueeze(0);
            }
            inputs.add(added); // (B or 1, H or 1, T or 1, S or 1)
        }
        if (dropout > 0) {
            inputs.addAll(generator.take(q.dim(0) * q.dim(1) * q.dim(2) * k.dim(2)));
        }
        double scale = 1 / Math.sqrt(Math.max(1, q.dim(-1)));
        return Tensor.recordAll(new ScaledDotProductAttention(scale, causal, bias != null, dropout), inputs).getFirst();
    }

    // ---- dropout, embedding, losses

    /** Zeroes elements with probability {@code p} and scales the rest by {@code 1 / (1 - p)} (Srivastava et al., 2014). */
    public static Tensor dropout(Tensor x, double p, Generator generator) {
        if (!(p >= 0 && p < 1)) {
            throw new IllegalArgumentException("dropout: probability " + p + " is not in [0, 1)");
        }
        if (p == 0) {
            return x;
        }
        List<Tensor> place = generator.take(x.elements());
        return Tensor.record(new Dropout(p), List.of(x, place.get(0), place.get(1)));
    }

    /** Rows of {@code weight (V, D)} at the places {@code index}, of any shape: {@code (..., D)}. */
    public static Tensor embedding(Tensor index, Tensor weight) {
        return weight.indexSelect(0, index);
    }

    /**
     * Cross-entropy of each row: {@code logits (N, C)}, {@code labels (N)} {@code I64}; rows labelled {@code ignoreIndex}
     * give 0. Not averaged; {@code Losses} in the training module does that.
     */
    public static Tensor crossEntropy(Tensor logits, Tensor labels, long ignoreIndex, double smoothing) {
        return Tensor.record(new CrossEntropy(ignoreIndex, smoothing), List.of(logits, labels));
    }
}
