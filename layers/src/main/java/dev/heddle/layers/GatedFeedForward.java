// The feed-forward network of Llama: a gate decides what of the hidden layer counts.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;
import dev.heddle.kernels.FusedFunctions;

/** {@code (..., dim) -> (..., dim)}: {@code down(silu(gate(x)) up(x))}, without biases (SwiGLU: Shazeer, 2020). */
public final class GatedFeedForward extends Layer {
    private final Linear gate;
    private final Linear up;
    private final Linear down;

    /** A network with a hidden layer of {@code hidden} features. */
    public GatedFeedForward(int dim, int hidden) {
        gate = child("gate", new Linear(dim, hidden, false));
        up = child("up", new Linear(dim, hidden, false));
        down = child("down", new Linear(hidden, dim, false));
    }

    @Override
    public Tensor forward(Tensor x) {
        return down.forward(FusedFunctions.swiGlu(gate.forward(x), up.forward(x))); // (..., hidden) -> (..., dim)
    }
}
