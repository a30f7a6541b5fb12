// The model families written again in libtorch, from its elementary operations and the papers, in double precision.
package dev.heddle.bench;

import dev.heddle.engine.Variable;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** Weights by the names of ours; scores are whole matrices with masks, positions are computed anew, nothing is fused. */
final class LibTorchModels {
    private final Map<String, Tensor> weights = new LinkedHashMap<>();

    /** Copies the weights of a model. */
    LibTorchModels(Map<String, Variable> parameters) {
        parameters.forEach((name, p) -> {
            Tensor weight = doubles(p.value().toDoubleArray(), p.shape().dims());
            weight.requires_grad_(true);
            weights.put(name, weight);
        });
    }

    static Tensor doubles(double[] values, long... shape) {
        Tensor tensor = torch.zeros(shape).to(torch.ScalarType.Double);
        new DoublePointer(tensor.data_ptr()).put(values);
        return tensor;
    }

    static Tensor longs(long[] values, long... shape) {
        Tensor tensor = torch.zeros(shape).to(torch.ScalarType.Long);
        new LongPointer(tensor.data_ptr()).put(values);
        return tensor;
    }

    static double[] values(Tensor x) {
        Tensor contiguous = x.contiguous();
        double[] values = new double[Math.toIntExact(contiguous.numel())];
        new DoublePointer(contiguous.data_ptr()).get(values);
        return values;
    }

    /** The gradient of a weight after {@code backward}. */
    double[] gradient(String name) {
        return values(weights.get(name).grad());
    }

    private Tensor weight(String name) {
        Tensor weight = weights.get(name);
        if (weight == null) {
            throw new IllegalArgumentException("no weight " + name + " among " + weights.keySet());
        }
        return weight;
    }

    // ---- recurrent layers, which libtorch has

    /** Two layers in both directions, from states of 0: {@code (B, T, in)} to {@code (B, T, 2 hidden)}. */
    Tensor recurrent(String kind, Tensor x, long hidden) {
        TensorVector parameters = new TensorVector(weights.values().toArray(new Tensor[0]));
        Tensor zeros = torch.zeros(4, x.size(0), hidden).to(torch.ScalarType.Double);
        return switch (kind) {
            case "lstm" -> torch.lstm(x, new TensorVector(zeros, zeros), parameters, true, 2, 0, true, true, true).get0();
            case "gru" -> torch.gru(x, zeros, parameters, true, 2, 0, true, true, true).get0();
            case "relu" -> torch.rnn_relu(x, zeros, parameters, true, 2, 0, true, true, true).get0();
            default -> torch.rnn_tanh(x, zeros, parameters, true, 2, 0, true, true, true).get0();
        };
    }

    // ---- parts

    private Tensor linear(Tensor x, String name) {
        Tensor y = x.matmul(weight(name + ".weight").transpose(0, 1));
        return weights.containsKey(name + ".bias") ? y.add(weight(name + ".bias")) : y;
    }

    private Tensor layerNorm(Tensor x, String name, double eps) {
        Tensor w = weight(name + ".weight");
        return torch.layer_norm(x, new long[] {w.numel()}, new TensorOptional(w), new TensorOptional(weight(name + ".bias")), eps, false);
    }

    private Tensor rmsNorm(Tensor x, String name, double eps) {
        Tensor mean = x.mul(x).sum(-1).div(new Scalar((double) x.size(-1))).unsqueeze(-1);
        return x.mul(mean.add(new Scalar(eps)).rsqrt()).mul(weight(name + ".weight"));
    }

    private static Tensor times(Tensor x, double factor) {
        return x.mul(new Scalar(factor));
    }

    /** {@code (n, heads, T, D)} of {@code (n, T, heads D)}. */
    private static Tensor heads(Tensor x, long heads) {
        return x.reshape(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);
    }

    /** Pairs {@code i, i + D/2} as complex numbers, times {@code e^(i t base^(-2i/D))}. */
    private static Tensor rotated(Tensor x, double base) {
        long t = x.size(2);
        long half = x.size(3) / 2;
        double[] cos = new double[(int) (t * half)];
        double[] sin = new double[cos.length];
        for (int i = 0; i < cos.length; i++) {
            double angle = i / half * Math.exp(-Math.log(base) * (i % half) / half);
            cos[i] = Math.cos(angle);
            sin[i] = Math.sin(angle);
        }
        Tensor re = x.narrow(3, 0, half);
        Tensor im = x.narrow(3, half, half);
        Tensor c = doubles(cos, t, half);
        Tensor s = doubles(sin, t, half);
        return torch.cat(new TensorVector(re.mul(c).sub(im.mul(s)), re.mul(s).add(im.mul(c))), 3);
    }

    /** Attention of {@code x} to {@code memory}: key heads written out once for each head, keys not seen at minus infinity. */
    private Tensor attention(Tensor x, Tensor memory, String name, long heads, long keyHeads, double base, boolean causal, int[] lengths) {
        long dim = x.size(2);
        Tensor q = heads(linear(x, name + ".query"), heads);
        Tensor kv = linear(memory, name + ".key_value");
        long half = kv.size(2) / 2;
        Tensor k = heads(kv.narrow(2, 0, half), keyHeads);
        Tensor v = heads(kv.narrow(2, half, half), keyHeads);
        if (base > 0) {
            q = rotated(q, base);
            k = rotated(k, base);
        }
        k = k.repeat_interleave(heads / keyHeads, new LongOptional(1), new LongOptional());
        v = v.repeat_interleave(heads / keyHeads, new LongOptional(1), new LongOptional());
        Tensor scores = times(q.matmul(k.transpose(2, 3)), 1 / Math.sqrt((double) dim / heads)); // (n, heads, T, S)
        double[] hidden = new double[(int) (x.size(0) * x.size(1) * memory.size(1))];
        for (int i = 0; i < hidden.length; i++) {
            int s = (int) (i % memory.size(1));
            int t = (int) (i / memory.size(1) % x.size(1));
            int n = (int) (i / memory.size(1) / x.size(1));
            hidden[i] = causal && s > t || lengths != null && s >= lengths[n] ? Double.NEGATIVE_INFINITY : 0;
        }
        Tensor p = scores.add(doubles(hidden, x.size(0), 1, x.size(1), memory.size(1))).softmax(-1);
        Tensor y = p.matmul(v).transpose(1, 2).reshape(x.size(0), x.size(1), dim);
        return linear(y, name + ".out");
    }

    private Tensor mlp(Tensor x, String name, String activation) {
        Tensor hidden = linear(x, name + ".up");
        Tensor active = switch (activation) {
            case "relu" -> hidden.relu();
            case "tanh" -> torch.gelu(hidden, "tanh");
            default -> torch.gelu(hidden, "none");
        };
        return linear(active, name + ".down");
    }

    // ---- families

    Tensor gpt(Tensor x, int layers, int heads) {
        Tensor h = torch.embedding(weight("tokens"), x).add(weight("positions").narrow(0, 0, x.size(1)));
        for (int i = 0; i < layers; i++) {
            String b = "block" + i;
            Tensor n = layerNorm(h, b + ".norm1", 1e-5);
            h = h.add(attention(n, n, b + ".attention", heads, heads, 0, true, null));
            h = h.add(mlp(layerNorm(h, b + ".norm2", 1e-5), b + ".feed_forward", "tanh"));
        }
        return layerNorm(h, "norm", 1e-5).matmul(weight("tokens").transpose(0, 1));
    }

    Tensor bert(Tensor x, Tensor segment, int[] lengths, int layers, int heads) {
        Tensor h = torch.embedding(weight("tokens"), x).add(torch.embedding(weight("segments"), segment));
        h = layerNorm(h.add(weight("positions").narrow(0, 0, x.size(1))), "norm", 1e-12);
        for (int i = 0; i < layers; i++) {
            h = encoderLayer(h, "block" + i, heads, lengths, "gelu", 1e-12);
        }
        return linear(h.select(1, 0), "pooler").tanh();
    }

    private Tensor encoderLayer(Tensor x, String name, int heads, int[] lengths, String activation, double eps) {
        Tensor h = layerNorm(x.add(attention(x, x, name + ".attention", heads, heads, 0, false, lengths)), name + ".norm1", eps);
        return layerNorm(h.add(mlp(h, name + ".feed_forward", activation)), name + ".norm2", eps);
    }

    Tensor llama(Tensor x, int layers, int heads, int keyHeads, double base, double eps) {
        Tensor h = torch.embedding(weight("tokens"), x);
        for (int i = 0; i < layers; i++) {
            String b = "block" + i;
            Tensor n = rmsNorm(h, b + ".norm1", eps);
            h = h.add(attention(n, n, b + ".attention", heads, keyHeads, base, true, null));
            n = rmsNorm(h, b + ".norm2", eps);
            Tensor gate = linear(n, b + ".feed_forward.gate");
            h = h.add(linear(gate.mul(gate.sigmoid()).mul(linear(n, b + ".feed_forward.up")), b + ".feed_forward.down"));
        }
        return linear(rmsNorm(h, "norm", eps), "head");
    }

    /** Patches are cut out by reshaping, and multiplied with the kernel as a matrix. */
    Tensor visionTransformer(Tensor x, int patch, int layers, int heads) {
        Tensor kernel = weight("patches.weight"); // (C, channels, patch, patch)
        long n = x.size(0);
        long across = x.size(3) / patch;
        Tensor cut = x.reshape(n, x.size(1), across, patch, across, patch).permute(0, 2, 4, 1, 3, 5).reshape(n, across * across, -1);
        Tensor h = cut.matmul(kernel.reshape(kernel.size(0), -1).transpose(0, 1)).add(weight("patches.bias"));
        h = torch.cat(new TensorVector(weight("class_token").expand(n, 1, kernel.size(0)), h), 1).add(weight("positions"));
        for (int i = 0; i < layers; i++) {
            String b = "block" + i;
            Tensor normal = layerNorm(h, b + ".norm1", 1e-12);
            h = h.add(attention(normal, normal, b + ".attention", heads, heads, 0, false, null));
            h = h.add(mlp(layerNorm(h, b + ".norm2", 1e-12), b + ".feed_forward", "gelu"));
        }
        return linear(layerNorm(h.select(1, 0), "norm", 1e-12), "head");
    }

    Tensor transformer(Tensor source, int[] lengths, Tensor target, int layers, int heads) {
        Tensor memory = withPositions(source);
        for (int i = 0; i < layers; i++) {
            memory = encoderLayer(memory, "encoder" + i, heads, lengths, "relu", 1e-5);
        }
        Tensor h = withPositions(target);
        for (int i = 0; i < layers; i++) {
            String d = "decoder" + i;
            h = layerNorm(h.add(attention(h, h, d + ".attention", heads, heads, 0, true, null)), d + ".norm1", 1e-5);
            h = layerNorm(h.add(attention(h, memory, d + ".cross_attention", heads, heads, 0, false, lengths)), d + ".norm2", 1e-5);
            h = layerNorm(h.add(mlp(h, d + ".feed_forward", "relu")), d + ".norm3", 1e-5);
        }
        return h.matmul(weight("tokens").transpose(0, 1));
    }

    private Tensor withPositions(Tensor x) {
        Tensor tokens = weight("tokens");
        int dim = (int) tokens.size(1);
        double[] waves = new double[(int) x.size(1) * dim];
        for (int t = 0; t < x.size(1); t++) {
            for (int i = 0; i < dim; i += 2) {
                double angle = t * Math.exp(-Math.log(10_000) * i / dim);
                waves[t * dim + i] = Math.sin(angle);
                waves[t * dim + i + 1] = Math.cos(angle);
            }
        }
        return times(torch.embedding(tokens, x), Math.sqrt(dim)).add(doubles(waves, x.size(1), dim));
    }

    /** The mean over labels that are not -1 of {@code 0.9 -log p[label] + 0.1 mean(-log p)}. */
    static Tensor smoothedLoss(Tensor logits, long[] labels) {
        long classes = logits.size(2);
        double[] wanted = new double[(int) logits.numel()];
        long count = Arrays.stream(labels).filter(label -> label >= 0).count();
        for (int i = 0; i < wanted.length; i++) {
            long label = labels[(int) (i / classes)];
            wanted[i] = label < 0 ? 0 : (0.1 / classes + (label == i % classes ? 0.9 : 0)) / count;
        }
        return logits.log_softmax(-1).mul(doubles(wanted, logits.size(0), logits.size(1), classes)).sum().neg();
    }
}
