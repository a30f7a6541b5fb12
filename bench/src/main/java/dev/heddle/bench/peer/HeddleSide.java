// The workloads in Heddle.
package dev.heddle.bench.peer;

import dev.heddle.engine.Activations;
import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.fused.RecurrentCell;
import dev.heddle.layers.ResNet;
import dev.heddle.training.Adam;
import dev.heddle.training.AdamW;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import dev.heddle.training.SGD;
import java.util.ArrayList;
import java.util.List;

/** A step: forward, cross-entropy, backward, update, loss read. */
public final class HeddleSide implements PeerWorker.Side {
    private final Workload workload;
    private final List<Variable> p = new ArrayList<>();
    private final ResNet resNet; // null for the other workloads, whose parameters stand in their formulas
    private final Optimizer optimizer;
    private final Tensor x;
    private final Tensor y;
    private final Generator generator = new Generator(1);

    /** The model with its initial weights, in {@code F32} or {@code BF16} (the optimizer then keeps them in {@code F32} too). */
    public HeddleSide(Workload workload, int batch, DType precision) {
        this.workload = workload;
        resNet = workload == Workload.RESNET18 ? new ResNet(new ResNet.Config(false, List.of(2, 2, 2, 2), 10, true)) : null;
        if (resNet != null) {
            p.addAll(resNet.to(precision).parameters());
        }
        for (int i = 0; i < workload.shapes.length; i++) {
            Tensor weights = Tensor.of(workload.parameter(i), workload.shapes[i]).to(precision);
            if (resNet == null) {
                p.add(new Variable("p" + i, weights, true));
            } else {
                p.get(i).set(weights); // its parameters come in the same order
                Variable.settle(List.of(p.get(i)));
            }
        }
        optimizer = switch (workload) {
            case MLP -> SGD.of(p).learningRate(Workload.SGD_RATE).build();
            case RESNET18 -> SGD.of(p).learningRate(Workload.RESNET_RATE).momentum(Workload.MOMENTUM).build();
            case CNN, LSTM -> Adam.of(p).learningRate(Workload.ADAM_RATE).build();
            case GPT -> AdamW.of(p).learningRate(Workload.ADAMW_RATE).build();
        };
        x = workload.positions > 0 ? Tensor.of(workload.tokens(batch), workload.inputShape(batch))
                : Tensor.of(workload.inputs(batch), workload.inputShape(batch)).to(precision);
        long[] labels = workload.labels(batch);
        y = Tensor.of(labels, labels.length);
    }

    @Override
    public double step(boolean dropout) {
        try (Tensor loss = train(dropout)) {
            return loss.item();
        }
    }

    /** A step whose loss nobody has read yet. */
    public Tensor train(boolean dropout) {
        Tensor loss = Losses.crossEntropy(switch (workload) {
            case MLP -> mlp();
            case CNN -> cnn(dropout);
            case RESNET18 -> resNet.forward(x);
            case GPT -> gpt();
            case LSTM -> lstm();
        }, y);
        optimizer.step(loss.backward());
        return loss;
    }

    private Tensor linear(Tensor h, int i) {
        return Functional.linear(h, p.get(i).value(), p.get(i + 1).value());
    }

    private Tensor conv(Tensor h, int i) {
        return Functional.conv2d(h, p.get(i).value(), p.get(i + 1).value(), 1, 0, 1, 1);
    }

    private Tensor mlp() {
        return linear(linear(linear(x, 0).relu(), 2).relu(), 4);
    }

    private Tensor cnn(boolean dropout) {
        Tensor h = Functional.maxPool2d(conv(conv(x, 0).relu(), 2).relu(), 2, 2, 0);
        h = linear(Functional.dropout(h, dropout ? 0.25 : 0, generator).flatten(1, 3), 4).relu();
        return linear(Functional.dropout(h, dropout ? 0.5 : 0, generator), 6);
    }

    private Tensor norm(Tensor h, int i) {
        return Functional.layerNorm(h, p.get(i).value(), p.get(i + 1).value(), 1e-5);
    }

    private Tensor gpt() {
        long n = x.dim(0);
        long t = workload.positions;
        long d = Workload.DIM;
        Tensor h = Functional.embedding(x, p.get(0).value()).add(p.get(1).value()); // (N, T, D)
        for (int block = 0, i = 2; block < Workload.BLOCKS; block++, i += Workload.BLOCK_PARAMETERS) {
            Tensor qkv = linear(norm(h, i), i + 2).reshape(n, t, 3, Workload.HEADS, d / Workload.HEADS).permute(2, 0, 3, 1, 4); // (3, N, H, T, D/H)
            Tensor a = Functional.scaledDotProductAttention(qkv.select(0, 0), qkv.select(0, 1), qkv.select(0, 2), true);
            h = h.add(linear(a.permute(0, 2, 1, 3).reshape(n, t, d), i + 4));
            h = h.add(linear(linear(norm(h, i + 6), i + 8).map(Activations::geluTanh), i + 10));
        }
        int last = 2 + Workload.BLOCKS * Workload.BLOCK_PARAMETERS;
        return linear(norm(h, last), last + 2).reshape(n * t, workload.vocabulary()); // (N T, tokens)
    }

    private Tensor lstm() {
        Tensor h = Functional.embedding(x, p.get(0).value()); // (N, T, D)
        Tensor zeros = Tensor.zeros(x.dim(0), h.dim(2));
        int last = p.size() - 2;
        for (int i = 1; i < last; i += Workload.LSTM_PARAMETERS) {
            h = Functional.recurrent(RecurrentCell.LSTM, false, h, p.get(i).value(), p.get(i + 1).value(), p.get(i + 2).value(), p.get(i + 3).value(),
                    List.of(zeros, zeros), null).getFirst();
        }
        return linear(h, last).reshape(-1, workload.vocabulary()); // (N T, tokens)
    }
}
