// A rectifier that lets a little through.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.Tensor;

/** {@link Activations#leakyRelu} of each element. */
public final class LeakyReLU extends Layer {
    private final double slope;

    /** With {@code slope} 0.01. */
    public LeakyReLU() {
        this(0.01);
    }

    /** With a given {@code slope}. */
    public LeakyReLU(double slope) {
        this.slope = slope;
    }

    @Override
    public Tensor forward(Tensor x) {
        return x.map(e -> Activations.leakyRelu(e, slope));
    }
}
