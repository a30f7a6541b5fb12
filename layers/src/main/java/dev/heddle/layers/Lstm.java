// Long short-term memory.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;
import java.util.List;

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
        super(in, hidden, layers, bidirectional, dropout, 4);
    }

    @Override
    int stateCount() {
        return 2;
    }

    @Override
    List<Tensor> cell(Tensor x, Tensor h, List<Tensor> state) {
        Tensor gates = x.add(h); // (B, 4 hidden)
        Tensor c = gate(gates, 1).sigmoid().mul(state.get(1)).add(gate(gates, 0).sigmoid().mul(gate(gates, 2).tanh()));
        return List.of(gate(gates, 3).sigmoid().mul(c.tanh()), c);
    }
}
