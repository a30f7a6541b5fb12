// The workloads in libtorch, through bytedeco's presets.
package dev.heddle.bench.peer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Adam;
import org.bytedeco.pytorch.AdamOptions;
import org.bytedeco.pytorch.AdamW;
import org.bytedeco.pytorch.AdamWOptions;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Optimizer;
import org.bytedeco.pytorch.SGD;
import org.bytedeco.pytorch.SGDOptions;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/** A step: zero_grad, forward, cross-entropy, backward, update, loss read. */
final class LibTorchSide implements PeerWorker.Side {
    private final Workload workload;
    private final int batch;
    private final boolean bf16;
    private final Tensor[] p;
    private final TensorOptional[] optional;
    private final List<TensorOptional> runningMean = new ArrayList<>();
    private final List<TensorOptional> runningVar = new ArrayList<>();
    private final Optimizer optimizer;
    private final Tensor x;
    private final Tensor y;

    LibTorchSide(Workload workload, int batch, boolean bf16) {
        this.workload = workload;
        this.batch = batch;
        this.bf16 = bf16;
        torch.set_num_threads(Setting.threads());
        p = new Tensor[workload.shapes.length];
        optional = new TensorOptional[p.length];
        for (int i = 0; i < p.length; i++) {
            p[i] = tensor(workload.parameter(i), workload.shapes[i]);
            p[i].requires_grad_(true);
            optional[i] = new TensorOptional(p[i]);
        }
        TensorVector all = new TensorVector(p);
        optimizer = switch (workload) {
            case MLP -> new SGD(all, new SGDOptions(Workload.SGD_RATE));
            case RESNET18 -> new SGD(all, momentum());
            case CNN, LSTM -> new Adam(all, new AdamOptions(Workload.ADAM_RATE));
            case GPT -> new AdamW(all, new AdamWOptions(Workload.ADAMW_RATE));
        };
        x = switch (workload) {
            case MLP, CNN, RESNET18 -> tensor(workload.inputs(batch), workload.inputShape(batch));
            case GPT -> integers(workload.tokens(batch), batch, workload.positions);
            case LSTM -> timeFirst(workload.tokens(batch));
        };
        if (workload == Workload.RESNET18) {
            for (int i = 0; i < p.length - 2; i += 3) {
                runningMean.add(new TensorOptional(torch.zeros(p[i].size(0))));
                runningVar.add(new TensorOptional(torch.ones(p[i].size(0))));
            }
        }
        long[] labels = workload.labels(batch);
        y = workload == Workload.LSTM ? timeFirst(labels).view(-1) : integers(labels, labels.length);
    }

    /** {@code (T, N)}: what libtorch's LSTM runs on without transposing. */
    private Tensor timeFirst(long[] values) {
        return integers(values, batch, workload.positions).t().contiguous();
    }

    private static Tensor integers(long[] values, long... shape) {
        Tensor tensor = torch.zeros(shape).to(torch.ScalarType.Long);
        new LongPointer(tensor.data_ptr()).put(values);
        return tensor;
    }

    private static Tensor tensor(float[] values, long... shape) {
        Tensor tensor = torch.zeros(shape);
        new FloatPointer(tensor.data_ptr()).put(values);
        return tensor;
    }

    @Override
    @SuppressWarnings("try") // the scope frees what is made inside it
    public double step(boolean dropout) {
        try (PointerScope scope = new PointerScope()) {
            optimizer.zero_grad();
            if (bf16) {
                torch.set_autocast_enabled(torch.DeviceType.CPU, true);
            }
            Tensor logits = switch (workload) {
                case MLP -> mlp();
                case CNN -> cnn(dropout);
                case RESNET18 -> resNet();
                case GPT -> gpt();
                case LSTM -> lstm();
            };
            Tensor loss = torch.cross_entropy_loss(logits, y);
            if (bf16) {
                torch.set_autocast_enabled(torch.DeviceType.CPU, false);
                torch.clear_cache(); // of the weights in bf16, as the end of `with torch.autocast` does
            }
            loss.backward();
            optimizer.step();
            return loss.item_float();
        }
    }

    private Tensor linear(Tensor h, int i) {
        return torch.linear(h, p[i], optional[i + 1]);
    }

    private Tensor conv(Tensor h, int i) {
        return torch.conv2d(h, p[i], optional[i + 1], new long[] {1, 1}, new long[] {0, 0}, new long[] {1, 1}, 1);
    }

    private Tensor mlp() {
        return linear(linear(linear(x, 0).relu(), 2).relu(), 4);
    }

    private Tensor cnn(boolean dropout) {
        long[] two = {2, 2};
        Tensor h = torch.max_pool2d(conv(conv(x, 0).relu(), 2).relu(), two, two, new long[] {0, 0}, new long[] {1, 1}, false);
        h = linear(torch.dropout(h, 0.25, dropout).flatten(1, 3), 4).relu();
        return linear(torch.dropout(h, 0.5, dropout), 6);
    }

    private static SGDOptions momentum() {
        SGDOptions options = new SGDOptions(Workload.RESNET_RATE);
        options.momentum().put(Workload.MOMENTUM);
        return options;
    }

    private Tensor normedConv(Tensor h, int i, long stride) {
        long padding = p[i].size(2) / 2;
        Tensor y = torch.conv2d(h, p[i], new TensorOptional(), new long[] {stride, stride}, new long[] {padding, padding}, new long[] {1, 1}, 1);
        return torch.batch_norm(y, optional[i + 1], optional[i + 2], runningMean.get(i / 3), runningVar.get(i / 3), true, 0.1, 1e-5, true);
    }

    private Tensor resNet() {
        Tensor h = normedConv(x, 0, 1).relu();
        for (int i = 3, block = 0; block < 2 * Workload.STAGES; block++) {
            boolean narrows = block > 0 && block % 2 == 0;
            Tensor y = normedConv(normedConv(h, i, narrows ? 2 : 1).relu(), i + 3, 1);
            h = y.add(narrows ? normedConv(h, i + 6, 2) : h).relu();
            i += narrows ? 9 : 6;
        }
        return linear(torch.adaptive_avg_pool2d(h, 1, 1).flatten(1, 3), p.length - 2);
    }

    private Tensor norm(Tensor h, int i) {
        return torch.layer_norm(h, new long[] {Workload.DIM}, optional[i], optional[i + 1], 1e-5, true);
    }

    private Tensor gpt() {
        long n = batch;
        long t = workload.positions;
        long d = Workload.DIM;
        Tensor h = torch.embedding(p[0], x).add(p[1]);
        for (int block = 0, i = 2; block < Workload.BLOCKS; block++, i += Workload.BLOCK_PARAMETERS) {
            TensorVector qkv = linear(norm(h, i), i + 2).view(n, t, 3, Workload.HEADS, d / Workload.HEADS).unbind(2);
            Tensor a = torch.scaled_dot_product_attention(qkv.get(0).transpose(1, 2), qkv.get(1).transpose(1, 2), qkv.get(2).transpose(1, 2),
                    new TensorOptional(), 0, true, new DoubleOptional(), false);
            h = h.add(linear(a.transpose(1, 2).contiguous().view(n, t, d), i + 4));
            h = h.add(linear(torch.gelu(linear(norm(h, i + 6), i + 8), "tanh"), i + 10));
        }
        int last = 2 + Workload.BLOCKS * Workload.BLOCK_PARAMETERS;
        return linear(norm(h, last), last + 2).view(n * t, workload.vocabulary());
    }

    private Tensor lstm() {
        Tensor h = torch.embedding(p[0], x); // (T, N, D)
        Tensor zeros = torch.zeros(2, batch, h.size(2)); // (layers, N, D)
        int last = p.length - 2;
        TensorVector weights = new TensorVector(Arrays.copyOfRange(p, 1, last));
        h = torch.lstm(h, new TensorVector(zeros, zeros), weights, true, 2, 0, true, false, false).get0();
        return linear(h, last).view((long) batch * workload.positions, workload.vocabulary());
    }
}
