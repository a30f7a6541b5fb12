// The workloads in Heddle.
package dev.heddle.bench;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.training.Adam;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import dev.heddle.training.SGD;
import java.util.ArrayList;
import java.util.List;

/** A step: forward, cross-entropy, backward, update, loss read. */
final class HeddleSide implements PeerWorker.Side {
    private final Workload workload;
    private final List<Variable> p = new ArrayList<>();
    private final Optimizer optimizer;
    private final Tensor x;
    private final Tensor y;
    private final Generator generator = new Generator(1);

    HeddleSide(Workload workload) {
        this(workload, workload.batch);
    }

    HeddleSide(Workload workload, int batch) {
        this.workload = workload;
        for (int i = 0; i < workload.shapes.length; i++) {
            p.add(new Variable("p" + i, Tensor.of(workload.parameter(i), workload.shapes[i]), true));
        }
        boolean mlp = workload == Workload.MLP;
        optimizer = mlp ? SGD.of(p).learningRate(Workload.SGD_RATE).build() : Adam.of(p).learningRate(Workload.ADAM_RATE).build();
        x = mlp ? Tensor.of(workload.inputs(batch), batch, Workload.PIXELS) : Tensor.of(workload.inputs(batch), batch, 1, 28, 28);
        y = Tensor.of(workload.labels(batch), batch);
    }

    @Override
    public double step(boolean dropout) {
        try (Tensor loss = train(dropout)) {
            return loss.item();
        }
    }

    /** A step whose loss nobody has read yet. */
    Tensor train(boolean dropout) {
        Tensor loss = Losses.crossEntropy(workload == Workload.MLP ? mlp() : cnn(dropout), y);
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
}
