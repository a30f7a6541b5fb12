// Dropout.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;

/** In training mode {@link Functional#dropout}; in evaluation mode the identity. */
public final class Dropout extends Layer {
    private final double probability;
    private final Generator generator; // null for the default

    /** Draws from {@link Init#generator()}. */
    public Dropout(double probability) {
        this(probability, null);
    }

    /** Draws from a generator of its own. */
    public Dropout(double probability, Generator generator) {
        if (!(probability >= 0 && probability < 1)) {
            throw new IllegalArgumentException("Dropout: probability " + probability + " is not in [0, 1)");
        }
        this.probability = probability;
        this.generator = generator;
    }

    @Override
    public Tensor forward(Tensor x) {
        return training() ? Functional.dropout(x, probability, generator == null ? Init.generator() : generator) : x;
    }

    @Override
    public String toString() {
        return "Dropout(" + probability + ")";
    }
}
