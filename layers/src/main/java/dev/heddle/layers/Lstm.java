// Long short-term memory.
package dev.heddle.layers;

import dev.heddle.engine.fused.RecurrentCell;

/**
 * {@code c = f c + i g}, {@code h = o tanh(c)}, with the gates {@code i, f, o} sigmoids and {@code g} the tanh of
 * {@code W x + b + U h + d} (Hochreiter and Schmidhuber, 1997; Gers et al., 2000); see {@link RecurrentLayer}. Gates lie in the
 * order i, f, g, o; the state is h, then c.
 */
public final class Lstm extends RecurrentLayer {
    /** One layer. */
    public Lstm(int in, int hidden) {
        this(in, hidden, 1, false, 0);
    }

    /** All options. */
    public Lstm(int in, int hidden, int layers, boolean bidirectional, double dropout) {
        super(in, hidden, layers, bidirectional, dropout, RecurrentCell.LSTM);
    }
}
