// The plain recurrent network.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;
import java.util.List;

/** {@code h = tanh(W x + b + U h + c)} (Elman, 1990), or with ReLU; see {@link RecurrentLayer}. */
public final class Rnn extends RecurrentLayer {
    private final boolean relu;

    /** One layer, tanh. */
    public Rnn(int in, int hidden) {
        this(in, hidden, 1, false, 0, false);
    }

    /** All options. */
    public Rnn(int in, int hidden, int layers, boolean bidirectional, double dropout, boolean relu) {
        super(in, hidden, layers, bidirectional, dropout, 1);
        this.relu = relu;
    }

    @Override
    int stateCount() {
        return 1;
    }

    @Override
    List<Tensor> cell(Tensor x, Tensor h, List<Tensor> state) {
        Tensor sum = x.add(h);
        return List.of(relu ? sum.relu() : sum.tanh());
    }
}
