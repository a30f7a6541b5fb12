// The workloads in libtorch, through bytedeco's presets.
package dev.heddle.bench;

import java.util.Arrays;
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
    private final Tensor[] p;
    private final TensorOptional[] optional;
    private final Optimizer optimizer;
    private final Tensor x;
    private final Tensor y;

    LibTorchSide(Workload workload) {
        this.workload = workload;
        torch.set_num_threads(Integer.getInteger("threads", Runtime.getRuntime().availableProcessors()));
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
            case CNN, LSTM -> new Adam(all, new AdamOptions(Workload.ADAM_RATE));
            case GPT -> new AdamW(all, new AdamWOptions(Workload.ADAMW_RATE));
        };
        x = switch (workload) {
            case MLP -> tensor(workload.inputs(), workload.batch, Workload.PIXELS);
            case CNN -> tensor(workload.inputs(), workload.batch, 1, 28, 28);
            case GPT -> integers(workload.tokens(), workload.batch, workload.positions);
            case LSTM -> timeFirst(workload.tokens());
        };
        y = workload == Workload.LSTM ? timeFirst(workload.labels()).view(-1) : integers(workload.labels(), workload.labels().length);
    }

    /** {@code (T, N)}: what libtorch's LSTM runs on without transposing. */
    private Tensor timeFirst(long[] values) {
        return integers(values, workload.batch, workload.positions).t().contiguous();
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
            Tensor loss = torch.cross_entropy_loss(switch (workload) {
                case MLP -> mlp();
                case CNN -> cnn(dropout);
                case GPT -> gpt();
                case LSTM -> lstm();
            }, y);
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

    private Tensor norm(Tensor h, int i) {
        return torch.layer_norm(h, new long[] {Workload.DIM}, optional[i], optional[i + 1], 1e-5, true);
    }

    private Tensor gpt() {
        long n = workload.batch;
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
        Tensor zeros = torch.zeros(2, workload.batch, h.size(2)); // (layers, N, D)
        int last = p.length - 2;
        TensorVector weights = new TensorVector(Arrays.copyOfRange(p, 1, last));
        h = torch.lstm(h, new TensorVector(zeros, zeros), weights, true, 2, 0, true, false, false).get0();
        return linear(h, last).view(workload.samples(), workload.vocabulary());
    }
}
