// A table of vectors.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;

/** {@code (...) I64 -> (..., dim)}: row {@code i} of {@code weight (count, dim)} for index {@code i}; normal at first. */
public final class Embedding extends Layer {
    private final Variable weight;

    /** A table of {@code count} vectors. */
    public Embedding(long count, long dim) {
        weight = parameter("weight", Init.normal(0, 1, count, dim));
    }

    /** {@code (count, dim)}. */
    public Variable weight() {
        return weight;
    }

    @Override
    public Tensor forward(Tensor index) {
        return Functional.embedding(index, weight.value());
    }

    @Override
    public String toString() {
        return "Embedding" + weight.shape();
    }
}
