// The training steps that are compared, with the same weights and data on both sides.
package dev.heddle.bench;

import java.util.Random;

/** One model: the shapes of its parameters and its batch. Values come from {@link Random}, so both sides draw the same. */
enum Workload {
    /** 784-512-512-10, ReLU, plain SGD. */
    MLP(128, new long[][] {{512, 784}, {512}, {512, 512}, {512}, {10, 512}, {10}}),
    /** Two convolutions (32, 64), pooling, two linear layers (128, 10), Adam; dropout 0.25 and 0.5. */
    CNN(64, new long[][] {{32, 1, 3, 3}, {32}, {64, 32, 3, 3}, {64}, {128, 9216}, {128}, {10, 128}, {10}});

    static final double SGD_RATE = 0.05;
    static final double ADAM_RATE = 1e-3;
    static final int PIXELS = 784;

    final int batch;
    final long[][] shapes;

    Workload(int batch, long[][] shapes) {
        this.batch = batch;
        this.shapes = shapes;
    }

    /** Initial values of parameter {@code i}: normal with standard deviation {@code 1/sqrt(fanIn)}; biases 0. */
    float[] parameter(int i) {
        long n = 1;
        for (long dim : shapes[i]) {
            n *= dim;
        }
        float[] values = new float[(int) n];
        if (shapes[i].length > 1) {
            Random random = new Random(i);
            double std = 1 / Math.sqrt((double) n / shapes[i][0]);
            for (int k = 0; k < values.length; k++) {
                values[k] = (float) (random.nextGaussian() * std);
            }
        }
        return values;
    }

    /** The inputs of the one batch, in {@code [0, 1)}. */
    float[] inputs() {
        return inputs(batch);
    }

    /** The inputs of a batch of another size. */
    float[] inputs(int batch) {
        Random random = new Random(100);
        float[] values = new float[batch * PIXELS];
        for (int k = 0; k < values.length; k++) {
            values[k] = random.nextFloat();
        }
        return values;
    }

    /** Its labels. */
    long[] labels() {
        return labels(batch);
    }

    /** The labels of a batch of another size. */
    long[] labels(int batch) {
        return new Random(101).longs(batch, 0, 10).toArray();
    }
}
