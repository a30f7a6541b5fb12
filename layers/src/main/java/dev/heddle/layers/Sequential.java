// Layers one behind the other.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;

/** Each layer takes the output of the one before; children are named {@code 0}, {@code 1}, ... */
public final class Sequential extends Layer {
    /** The layers in order. */
    public Sequential(Layer... layers) {
        for (int i = 0; i < layers.length; i++) {
            child(Integer.toString(i), layers[i]);
        }
    }

    @Override
    public Tensor forward(Tensor x) {
        Tensor y = x;
        for (Layer layer : children().values()) {
            y = layer.forward(y);
        }
        return y;
    }
}
