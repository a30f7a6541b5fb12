// How parameters begin, and where a layer's random numbers come from when it is not told.
package dev.heddle.layers;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.function.Function;

/**
 * Initialisers, all {@code F32}. Weights are {@code (out, in, *kernel)}: the fan-in is {@code in * kernel}, the fan-out
 * {@code out * kernel}.
 */
public final class Init {
    private static final ThreadLocal<Generator> DEFAULT = ThreadLocal.withInitial(() -> new Generator(0));

    private Init() {}

    /**
     * Restarts the calling thread's default generator, from which layers draw their initial values and dropout its masks.
     * The same seed before building and training the same model gives the same result, bit for bit.
     */
    public static void seed(long seed) {
        DEFAULT.get().restore(seed, 0);
    }

    /** The calling thread's default generator. */
    public static Generator generator() {
        return DEFAULT.get();
    }

    /** Zeros. */
    public static Tensor zeros(long... shape) {
        return Tensor.zeros(shape);
    }

    /** Ones. */
    public static Tensor ones(long... shape) {
        return Tensor.ones(shape);
    }

    /** Uniform in {@code [low, high)}. */
    public static Tensor uniform(double low, double high, long... shape) {
        return generator().rand(shape).mul(high - low).add(low);
    }

    /** Normal with a mean and a standard deviation. */
    public static Tensor normal(double mean, double std, long... shape) {
        return generator().randn(shape).mul(std).add(mean);
    }

    /**
     * Normal, cut off at two standard deviations by the inverse of the distribution function (its values are at most
     * {@code 2 std} away from the mean).
     */
    public static Tensor truncatedNormal(double mean, double std, long... shape) {
        // P(|z| < 2) = 0.9545; u is uniform within it; erfinv by Giles, "Approximating the erfinv function", 2010
        Tensor u = generator().rand(shape).mul(2 * 0.95449973610364).sub(0.95449973610364);
        Tensor w = u.square().neg().log1p().neg();
        double[] p = {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
            -0.00417768164, 0.246640727, 1.50140941};
        Tensor x = w.sub(2.5);
        Tensor y = Tensor.scalar(p[0]);
        for (int i = 1; i < p.length; i++) {
            y = y.mul(x).add(p[i]);
        }
        return y.mul(u).mul(Math.sqrt(2)).clamp(-2, 2).mul(std).add(mean);
    }

    /** Uniform with bound {@code gain sqrt(3 / fanIn)} (He et al., 2015; {@code gain = sqrt 2} for ReLU). */
    public static Tensor kaimingUniform(double gain, long... shape) {
        double bound = gain * Math.sqrt(3.0 / fanIn(shape));
        return uniform(-bound, bound, shape);
    }

    /** Normal with standard deviation {@code gain / sqrt(fanIn)} (He et al., 2015). */
    public static Tensor kaimingNormal(double gain, long... shape) {
        return normal(0, gain / Math.sqrt(fanIn(shape)), shape);
    }

    /** Uniform with bound {@code gain sqrt(6 / (fanIn + fanOut))} (Glorot and Bengio, 2010). */
    public static Tensor xavierUniform(double gain, long... shape) {
        double bound = gain * Math.sqrt(6.0 / (fanIn(shape) + fanOut(shape)));
        return uniform(-bound, bound, shape);
    }

    /** Normal with standard deviation {@code gain sqrt(2 / (fanIn + fanOut))} (Glorot and Bengio, 2010). */
    public static Tensor xavierNormal(double gain, long... shape) {
        return normal(0, gain * Math.sqrt(2.0 / (fanIn(shape) + fanOut(shape))), shape);
    }

    /**
     * A matrix with orthonormal rows or columns, whichever are fewer, times {@code gain} (Saxe et al., 2013); further axes
     * count as columns. Computed on the host by modified Gram-Schmidt in double precision.
     */
    public static Tensor orthogonal(double gain, long... shape) {
        if (shape.length < 2) {
            throw new ShapeException("orthogonal: needs at least 2 axes, got " + Shape.of(shape));
        }
        int rows = Math.toIntExact(shape[0]);
        int columns = Math.toIntExact(Shape.of(shape).elements() / Math.max(1, rows));
        boolean wide = columns >= rows;
        int vectors = wide ? rows : columns;
        int length = wide ? columns : rows;
        double[] random = generator().randn(vectors, length).toDoubleArray();
        for (int i = 0; i < vectors; i++) {
            for (int pass = 0; pass < 2; pass++) { // the second removes what rounding left of the first
                for (int k = 0; k < i; k++) {
                    double dot = 0;
                    for (int j = 0; j < length; j++) {
                        dot += random[i * length + j] * random[k * length + j];
                    }
                    for (int j = 0; j < length; j++) {
                        random[i * length + j] -= dot * random[k * length + j];
                    }
                }
            }
            double norm = 0;
            for (int j = 0; j < length; j++) {
                norm += random[i * length + j] * random[i * length + j];
            }
            for (int j = 0; j < length; j++) {
                random[i * length + j] /= Math.sqrt(norm);
            }
        }
        float[] values = new float[rows * columns];
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < columns; c++) {
                values[r * columns + c] = (float) (gain * (wide ? random[r * length + c] : random[c * length + r]));
            }
        }
        return Tensor.of(values, shape);
    }

    /** Sets the weights of all linear layers under a layer to what {@code weight} makes of their shapes, and all biases to 0. */
    static void linears(Layer layer, Function<long[], Tensor> weight) {
        layer.namedParameters().forEach((name, variable) -> {
            if (name.endsWith("bias")) {
                variable.set(zeros(variable.shape().dims()));
            } else if (name.endsWith("weight") && variable.shape().rank() == 2) {
                variable.set(weight.apply(variable.shape().dims()));
            }
        });
        Variable.settle(layer.parameters());
    }

    /** The bound of PyTorch's default for linear and convolution layers: {@code 1 / sqrt(fanIn)}, for weight and bias. */
    static double defaultBound(long... weightShape) {
        return 1 / Math.sqrt(fanIn(weightShape));
    }

    private static double fanIn(long... shape) {
        requireMatrix(shape);
        return (double) Shape.of(shape).elements() / shape[0];
    }

    private static double fanOut(long... shape) {
        requireMatrix(shape);
        return (double) Shape.of(shape).elements() / shape[1];
    }

    private static void requireMatrix(long... shape) {
        if (shape.length < 2 || shape[0] < 1 || shape[1] < 1) {
            throw new ShapeException("init: fan of shape " + Shape.of(shape) + " is not defined");
        }
    }
}
