// The plain recurrent network.
package dev.heddle.layers;

import dev.heddle.engine.fused.RecurrentCell;

/** {@code h = tanh(W x + b + U h + c)} (Elman, 1990), or with ReLU; see {@link RecurrentLayer}. */
public final class Rnn extends RecurrentLayer {
    /** One layer, tanh. */
    public Rnn(int in, int hidden) {
        this(in, hidden, 1, false, 0, false);
    }

    /** All options. */
    public Rnn(int in, int hidden, int layers, boolean bidirectional, double dropout, boolean relu) {
        super(in, hidden, layers, bidirectional, dropout, relu ? RecurrentCell.RELU : RecurrentCell.TANH);
    }
}
