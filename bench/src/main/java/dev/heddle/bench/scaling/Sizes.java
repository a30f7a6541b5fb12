// A network to be trained, by its sizes: what is varied one at a time.
package dev.heddle.bench.scaling;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Gpt;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.ReLU;
import dev.heddle.layers.Sequential;
import dev.heddle.training.AdamW;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleSupplier;

/**
 * The sizes of a training step.
 *
 * @param model {@code mlp}: {@code depth} linear layers of {@code width} features with ReLU, and one to 10 classes; {@code gpt}: {@code depth}
 *     blocks of {@code width} features in heads of 32, 256 tokens
 * @param batch samples, or sequences
 * @param width features
 * @param depth layers
 * @param length tokens of a sequence; of no meaning for {@code mlp}
 */
record Sizes(String model, int batch, int width, int depth, int length) {
    private static final int CLASSES = 10;
    private static final int VOCABULARY = 256;
    private static final int HEAD = 32;

    /** These sizes with another value of {@code batch}, {@code width}, {@code depth} or {@code length}. */
    Sizes with(String axis, int value) {
        return switch (axis) {
            case "batch" -> new Sizes(model, value, width, depth, length);
            case "width" -> new Sizes(model, batch, value, depth, length);
            case "depth" -> new Sizes(model, batch, width, value, length);
            case "length" -> new Sizes(model, batch, width, depth, value);
            default -> throw new IllegalArgumentException("scaling: there is no axis '" + axis + "'");
        };
    }

    /** As arguments of a program. */
    List<String> arguments() {
        return List.of(model, Integer.toString(batch), Integer.toString(width), Integer.toString(depth), Integer.toString(length));
    }

    /** From arguments, from the first one of them. */
    static Sizes parse(String[] arguments, int first) {
        return new Sizes(arguments[first], Integer.parseInt(arguments[first + 1]), Integer.parseInt(arguments[first + 2]),
                Integer.parseInt(arguments[first + 3]), Integer.parseInt(arguments[first + 4]));
    }

    /** The network with random weights. */
    Layer network() {
        Init.seed(1);
        if (model.equals("gpt")) {
            return new Gpt(new Gpt.Config(VOCABULARY, length, depth, width / HEAD, width, 0));
        }
        List<Layer> layers = new ArrayList<>();
        for (int i = 0; i < depth; i++) {
            layers.add(new Linear(width, width));
            layers.add(new ReLU());
        }
        layers.add(new Linear(width, CLASSES));
        return new Sequential(layers.toArray(Layer[]::new));
    }

    /** A step of a network on random data: forward, cross-entropy, backward, AdamW's update; returns the loss. */
    DoubleSupplier step(Layer network, Optimizer optimizer) {
        Generator generator = new Generator(2);
        boolean gpt = model.equals("gpt");
        Tensor x = (gpt ? generator.randint(0, VOCABULARY, batch, length) : generator.randn(batch, width)).eval();
        Tensor y = generator.randint(0, gpt ? VOCABULARY : CLASSES, gpt ? (long) batch * length : batch).eval();
        return () -> {
            Tensor logits = network.forward(x);
            try (Tensor loss = Losses.crossEntropy(gpt ? logits.reshape(-1, VOCABULARY) : logits, y)) { // (B T, V)
                optimizer.step(loss.backward());
                return loss.item();
            }
        };
    }

    /** AdamW for a network. */
    static Optimizer optimizer(Layer network) {
        return AdamW.of(network.parameters()).learningRate(1e-4).build();
    }
}
