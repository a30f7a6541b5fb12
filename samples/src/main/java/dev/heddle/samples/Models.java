// The models that the command line trains, by name.
package dev.heddle.samples;

import dev.heddle.layers.Conv2d;
import dev.heddle.layers.Dropout;
import dev.heddle.layers.Flatten;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.MaxPool2d;
import dev.heddle.layers.ReLU;
import dev.heddle.layers.Sequential;
import dev.heddle.layers.Tanh;
import dev.heddle.layers.VisionTransformer;

/** Small models for small images. */
final class Models {
    private Models() {}

    /**
     * A model by name.
     *
     * @throws IllegalArgumentException if there is none of that name
     */
    static Layer of(String name) {
        return switch (name) {
            case "cnn" -> cnn();
            case "mlp" -> mlp();
            case "vit" -> vit();
            case "xor" -> xor();
            default -> throw new IllegalArgumentException("model: there is no '" + name + "'");
        };
    }

    /** Two convolutions and two linear layers for {@code (N, 1, 28, 28)}, ten classes. */
    static Sequential cnn() {
        return new Sequential(
                new Conv2d(1, 32, 3), new ReLU(), // (N, 32, 26, 26)
                new Conv2d(32, 64, 3), new ReLU(), // (N, 64, 24, 24)
                new MaxPool2d(2), new Dropout(0.25), new Flatten(), // (N, 9216)
                new Linear(64 * 12 * 12, 128), new ReLU(), new Dropout(0.5), // (N, 128)
                new Linear(128, 10)); // (N, 10)
    }

    /** Three linear layers for {@code (N, 1, 28, 28)}, ten classes. */
    static Sequential mlp() {
        return new Sequential(new Flatten(), // (N, 784)
                new Linear(784, 512), new ReLU(), new Linear(512, 512), new ReLU(), new Linear(512, 10));
    }

    /** A transformer over 16 patches of 7 x 7 for {@code (N, 1, 28, 28)}, ten classes. */
    static VisionTransformer vit() {
        return new VisionTransformer(new VisionTransformer.Config(28, 7, 1, 10, 4, 4, 64, 128, 0.1));
    }

    /** Two layers for {@code (N, 2)}, two classes: the smallest model that can tell exclusive or. */
    static Sequential xor() {
        return new Sequential(new Linear(2, 8), new Tanh(), new Linear(8, 2));
    }
}
