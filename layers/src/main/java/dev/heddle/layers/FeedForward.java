// The network that a transformer applies at each position by itself.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Expr;
import java.util.function.UnaryOperator;

/** {@code (..., dim) -> (..., dim)}: {@code down(activation(up(x)))} (Vaswani et al., 2017). */
public final class FeedForward extends Layer {
    private final Linear up;
    private final Linear down;
    private final UnaryOperator<Expr> activation;

    /**
     * A network with a hidden layer.
     *
     * @param hidden features of the hidden layer
     * @param activation one of {@link dev.heddle.engine.Activations}, say
     */
    public FeedForward(int dim, int hidden, UnaryOperator<Expr> activation) {
        up = child("up", new Linear(dim, hidden));
        down = child("down", new Linear(hidden, dim));
        this.activation = activation;
    }

    @Override
    public Tensor forward(Tensor x) {
        return down.forward(up.forward(x).map(activation)); // (..., hidden) -> (..., dim)
    }
}
