// The gated recurrent unit.
package dev.heddle.layers;

import dev.heddle.engine.fused.RecurrentCell;

/**
 * {@code h = (1 - z) n + z h} with {@code r, z} sigmoids of {@code W x + b + U h + d} and {@code n = tanh(W x + b + r (U h + d))}
 * (Cho et al., 2014, with the reset gate behind the product, as cuDNN and PyTorch have it); see {@link RecurrentLayer}. Gates
 * lie in the order r, z, n.
 */
public final class Gru extends RecurrentLayer {
    /** One layer. */
    public Gru(int in, int hidden) {
        this(in, hidden, 1, false, 0);
    }

    /** All options. */
    public Gru(int in, int hidden, int layers, boolean bidirectional, double dropout) {
        super(in, hidden, layers, bidirectional, dropout, RecurrentCell.GRU);
    }
}
