// The training steps that are compared, with the same weights and data on both sides.
package dev.heddle.bench.peer;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;

/** One model: the shapes of its parameters and its batch. Values come from {@link Random}, so all sides draw the same. */
public enum Workload {
    /** 784-512-512-10, ReLU, plain SGD. */
    MLP("MLP 784-512-512-10, SGD", 128, new long[] {784}, 0, new long[][] {{512, 784}, {512}, {512, 512}, {512}, {10, 512}, {10}}),
    /** Two convolutions (32, 64), pooling, two linear layers (128, 10), Adam; dropout 0.25 and 0.5. */
    CNN("MNIST CNN, Adam", 64, new long[] {1, 28, 28}, 0, new long[][] {{32, 1, 3, 3}, {32}, {64, 32, 3, 3}, {64}, {128, 9216}, {128}, {10, 128}, {10}}),
    /**
     * The residual network of 18 layers for small images (He et al., 2016): a 3x3 stem, four stages of two basic blocks with 64 to 512
     * channels, batch norm, mean over the image, one linear layer; plain convolutions of 1x1 where a stage begins. SGD with momentum.
     */
    RESNET18("ResNet-18, 32 x 32, SGD", 64, new long[] {3, 32, 32}, 0, resNetShapes()),
    /** A GPT of 4 blocks, 256 features, 8 heads, 128 positions, 256 tokens; 16 sequences, AdamW. Its inputs are tokens. */
    GPT("GPT 4x256, 128 tokens, AdamW", 16, new long[0], 128, gptShapes()),
    /** An LSTM of 2 layers and 256 features, 64 positions, 128 tokens; 32 sequences, Adam. Its inputs are tokens. */
    LSTM("LSTM 2x256, 64 tokens, Adam", 32, new long[0], 64, new long[][] {{128, 256}, {1024, 256}, {1024, 256}, {1024}, {1024}, {1024, 256}, {1024, 256}, {1024}, {1024}, {128, 256}, {128}});

    static final double SGD_RATE = 0.05;
    static final double ADAM_RATE = 1e-3;
    static final double RESNET_RATE = 0.02;
    static final double MOMENTUM = 0.9;
    static final int STAGES = 4;
    static final double ADAMW_RATE = 3e-4;
    static final int BLOCKS = 4;
    static final int HEADS = 8;
    static final int DIM = 256;
    /** Of a block: norm, q k v, projection, norm, up, down; weight and bias each. */
    static final int BLOCK_PARAMETERS = 12;

    /** Of an LSTM layer: weights and biases of input and hidden state. */
    static final int LSTM_PARAMETERS = 4;

    /** In a few words, for tables. */
    public final String description;
    /** How many images, or sequences. */
    public final int batch;
    /** Of a sequence of tokens; 0 for images. */
    public final int positions;
    /** Of the parameters. */
    public final long[][] shapes;

    private final long[] image;

    Workload(String description, int batch, long[] image, int positions, long[][] shapes) {
        this.description = description;
        this.batch = batch;
        this.image = image;
        this.positions = positions;
        this.shapes = shapes;
    }

    /** Tokens, positions, the blocks, norm, head. */
    private static long[][] gptShapes() {
        long d = 256;
        List<long[]> shapes = new ArrayList<>(List.of(new long[] {256, d}, new long[] {128, d}));
        for (int i = 0; i < 4; i++) {
            shapes.addAll(List.of(new long[] {d}, new long[] {d}, new long[] {3 * d, d}, new long[] {3 * d}, new long[] {d, d}, new long[] {d},
                    new long[] {d}, new long[] {d}, new long[] {4 * d, d}, new long[] {4 * d}, new long[] {d, 4 * d}, new long[] {d}));
        }
        shapes.addAll(List.of(new long[] {d}, new long[] {d}, new long[] {256, d}, new long[] {256}));
        return shapes.toArray(long[][]::new);
    }

    /** Stem; of a block two convolutions and, where its shape changes, a third one, each with its norm's weight and bias; linear. */
    private static long[][] resNetShapes() {
        List<long[]> shapes = new ArrayList<>();
        normedConv(shapes, 3, 64, 3);
        for (int stage = 0; stage < 4; stage++) {
            long out = 64L << stage;
            long in = Math.max(64, out / 2);
            normedConv(shapes, in, out, 3);
            normedConv(shapes, out, out, 3);
            if (in != out) {
                normedConv(shapes, in, out, 1);
            }
            normedConv(shapes, out, out, 3);
            normedConv(shapes, out, out, 3);
        }
        shapes.addAll(List.of(new long[] {10, 512}, new long[] {10}));
        return shapes.toArray(long[][]::new);
    }

    private static void normedConv(List<long[]> shapes, long in, long out, long kernel) {
        shapes.addAll(List.of(new long[] {out, in, kernel, kernel}, new long[] {out}, new long[] {out}));
    }

    /** The shape of the inputs: {@code (batch, positions)}, or the images, {@code (batch, 784)} or {@code (batch, C, H, W)}. */
    public long[] inputShape(int batch) {
        long[] shape = new long[1 + Math.max(1, image.length)];
        shape[0] = batch;
        shape[1] = positions;
        System.arraycopy(image, 0, shape, 1, image.length);
        return shape;
    }

    /** Samples of a step: images, or tokens. */
    public long samples() {
        return (long) batch * Math.max(1, positions);
    }

    /** Whether parameter {@code i} is the weight of a norm, which begins as 1. */
    private boolean isNorm(int i) {
        if (this == RESNET18) {
            return i > 0 && shapes[i].length == 1 && shapes[i - 1].length == 4;
        }
        int block = (i - 2) % BLOCK_PARAMETERS;
        return this == GPT && i >= 2 && (i < 2 + BLOCKS * BLOCK_PARAMETERS ? block == 0 || block == 6 : i == 2 + BLOCKS * BLOCK_PARAMETERS);
    }

    /** Initial values of parameter {@code i}: normal with standard deviation {@code 1/sqrt(fanIn)}; biases 0. */
    public float[] parameter(int i) {
        long n = 1;
        for (long dim : shapes[i]) {
            n *= dim;
        }
        float[] values = new float[(int) n];
        if (isNorm(i)) {
            Arrays.fill(values, 1);
        } else if (shapes[i].length > 1) {
            Random random = new Random(i);
            double std = 1 / Math.sqrt((double) n / shapes[i][0]);
            for (int k = 0; k < values.length; k++) {
                values[k] = (float) (random.nextGaussian() * std);
            }
        }
        return values;
    }

    /** The images of a batch, values in {@code [0, 1)}. */
    public float[] inputs(int batch) {
        Random random = new Random(100);
        float[] values = new float[(int) Arrays.stream(image).reduce(batch, Math::multiplyExact)];
        for (int k = 0; k < values.length; k++) {
            values[k] = random.nextFloat();
        }
        return values;
    }

    /** How many tokens there are: rows of the first parameter. */
    long vocabulary() {
        return shapes[0][0];
    }

    /** The tokens of a batch, {@code (batch, positions)}. */
    long[] tokens(int batch) {
        return new Random(102).longs((long) batch * positions, 0, vocabulary()).toArray();
    }

    /** The labels of a batch: of each image, or of each token. */
    public long[] labels(int batch) {
        return positions > 0 ? new Random(101).longs((long) batch * positions, 0, vocabulary()).toArray()
                : new Random(101).longs(batch, 0, 10).toArray();
    }
}
