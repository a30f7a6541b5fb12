// Residual networks: each block adds to what it was given, so that a hundred layers can be trained.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.List;
import java.util.Map;

/**
 * {@code (N, 3, H, W) -> (N, classes)}: ResNet (He et al., "Deep residual learning for image recognition", 2015), with the stride in
 * the 3 x 3 convolution of a bottleneck. Parameters have the names that torchvision gave them.
 */
public final class ResNet extends Layer {
    private static final Map<String, Config> SIZES = Map.of(
            "resnet18", new Config(false, List.of(2, 2, 2, 2), 1000, false),
            "resnet34", new Config(false, List.of(3, 4, 6, 3), 1000, false),
            "resnet50", new Config(true, List.of(3, 4, 6, 3), 1000, false),
            "resnet101", new Config(true, List.of(3, 4, 23, 3), 1000, false),
            "resnet152", new Config(true, List.of(3, 8, 36, 3), 1000, false));
    private static final int WIDTH = 64; // of the first stage; it doubles with each

    /**
     * What a model is made of.
     *
     * @param bottleneck whether a block is a 3 x 3 convolution between two of 1 x 1, with four times as many channels out, or else
     *     two of 3 x 3
     * @param blocks of each of the stages, of which all but the first halve the image
     * @param classes outputs
     * @param small whether images are small, as CIFAR's 32 x 32: then the first convolution is 3 x 3 and keeps their size
     */
    public record Config(boolean bottleneck, List<Integer> blocks, int classes, boolean small) {}

    private final Config config;
    private final Conv2d conv1;
    private final BatchNorm2d bn1;
    private final MaxPool2d pool = new MaxPool2d(3, 2, 1);
    private final Sequential[] stages;
    private final Linear fc;

    /** A model with random weights: convolutions by the rule of He et al., as for ReLU. */
    public ResNet(Config config) {
        this.config = config;
        conv1 = child("conv1", config.small ? ResidualBlock.conv(3, WIDTH, 3, 1) : ResidualBlock.conv(3, WIDTH, 7, 2));
        bn1 = child("bn1", new BatchNorm2d(WIDTH));
        stages = new Sequential[config.blocks.size()];
        int channels = WIDTH;
        for (int i = 0; i < stages.length; i++) {
            ResidualBlock[] blocks = new ResidualBlock[config.blocks.get(i)];
            for (int k = 0; k < blocks.length; k++) {
                blocks[k] = new ResidualBlock(channels, WIDTH << i, i > 0 && k == 0 ? 2 : 1, config.bottleneck);
                channels = blocks[k].channels();
            }
            stages[i] = child("layer" + (i + 1), new Sequential(blocks));
        }
        fc = child("fc", new Linear(channels, config.classes));
        namedParameters().forEach((name, variable) -> {
            if (variable.shape().rank() == 4) {
                variable.set(Init.kaimingNormal(Math.sqrt(2), variable.shape().dims()));
            }
        });
        Variable.settle(parameters());
    }

    /**
     * A model of one of the paper's sizes for ImageNet: {@code resnet18} (12M parameters), {@code resnet34} (22M), {@code resnet50}
     * (26M), {@code resnet101} (45M), {@code resnet152} (60M).
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static ResNet named(String size) {
        return new ResNet(Sizes.get(SIZES, "resnet", size));
    }

    /** What the model is made of. */
    public Config config() {
        return config;
    }

    @Override
    public Tensor forward(Tensor x) {
        Tensor h = bn1.forward(conv1.forward(x)).relu(); // (N, 64, H / 2, W / 2), small: (N, 64, H, W)
        h = config.small ? h : pool.forward(h); // (N, 64, H / 4, W / 4)
        for (Sequential stage : stages) {
            h = stage.forward(h); // twice the channels, half the size
        }
        return fc.forward(h.mean(2, 3)); // (N, C, h, w) -> (N, C) -> (N, classes)
    }
}
