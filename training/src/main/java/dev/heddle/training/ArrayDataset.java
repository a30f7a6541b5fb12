// Samples held in Java arrays.
package dev.heddle.training;

import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import java.util.SplittableRandom;

/**
 * Images or vectors in memory, with a label or target values each. Images of bytes are kept as bytes and become
 * {@code (pixel / 255 - mean) / std} when a batch is made.
 */
public final class ArrayDataset implements Dataset {
    /** Changes a sample as a batch is made, for example to augment it. */
    @FunctionalInterface
    public interface Transform {
        /**
         * @param values all samples of the batch; those of this one begin at {@code at} and have the given shape
         * @param random its own for each sample and epoch
         */
        void apply(float[] values, int at, Shape shape, SplittableRandom random);
    }

    private final Shape shape;
    private final int width; // elements of one sample
    private final byte[] pixels; // or null
    private final float[] values; // or null
    private final float scale;
    private final float shift;
    private final long[] labels; // or null
    private final float[] targets; // or null
    private final Shape targetShape;
    private final int size;
    private final Transform transform;
    private float[] scratch = {};

    private ArrayDataset(Shape shape, byte[] pixels, float[] values, float scale, float shift, long[] labels, float[] targets,
            Shape targetShape, Transform transform) {
        this.shape = shape;
        this.width = Math.toIntExact(shape.elements());
        this.pixels = pixels;
        this.values = values;
        this.scale = scale;
        this.shift = shift;
        this.labels = labels;
        this.targets = targets;
        this.targetShape = targetShape;
        this.transform = transform;
        int elements = pixels == null ? values.length : pixels.length;
        size = width == 0 ? 0 : elements / width;
        int given = labels != null ? labels.length : targets.length;
        long expected = labels != null ? size : size * targetShape.elements();
        if (width == 0 || elements % width != 0 || given != expected) {
            throw new DatasetException("dataset: " + elements + " values for samples of shape " + shape + ", and " + given
                    + (labels != null ? " labels" : " target values of shape " + targetShape));
        }
    }

    /**
     * Images with labels.
     *
     * @param shape of one image, for example {@code (1, 28, 28)}
     * @throws DatasetException if the sizes do not fit, or a label is not in {@code [0, classes)}
     */
    public static ArrayDataset ofImages(byte[] pixels, Shape shape, long[] labels, int classes, float mean, float std) {
        requireLabels(labels, classes);
        return new ArrayDataset(shape, pixels, null, 1 / (255 * std), -mean / std, labels, null, null, null);
    }

    /** Vectors (of any shape) with labels; see {@link #ofImages}. */
    public static ArrayDataset of(float[] values, Shape shape, long[] labels, int classes) {
        requireLabels(labels, classes);
        return new ArrayDataset(shape, null, values, 1, 0, labels, null, null, null);
    }

    /** Vectors with target values, for regression. */
    public static ArrayDataset of(float[] values, Shape shape, float[] targets, Shape targetShape) {
        return new ArrayDataset(shape, null, values, 1, 0, null, targets, targetShape, null);
    }

    private static void requireLabels(long[] labels, int classes) {
        for (int i = 0; i < labels.length; i++) {
            if (labels[i] < 0 || labels[i] >= classes) {
                throw new DatasetException("dataset: label " + labels[i] + " of sample " + i + " is not in [0, " + classes + ")");
            }
        }
    }

    /** The same samples, changed by a transform whenever they are fetched. */
    public ArrayDataset transform(Transform transform) {
        return new ArrayDataset(shape, pixels, values, scale, shift, labels, targets, targetShape, transform);
    }

    /** The shape of one sample. */
    public Shape shape() {
        return shape;
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public Batch batch(int[] indices, long seed) {
        int n = indices.length;
        if (scratch.length != n * width) {
            scratch = new float[Math.multiplyExact(n, width)];
        }
        for (int k = 0; k < n; k++) {
            int from = indices[k] * width;
            if (pixels == null) {
                System.arraycopy(values, from, scratch, k * width, width);
            } else {
                for (int i = 0; i < width; i++) {
                    scratch[k * width + i] = (pixels[from + i] & 0xff) * scale + shift;
                }
            }
            if (transform != null) {
                transform.apply(scratch, k * width, shape, new SplittableRandom(seed + indices[k]));
            }
        }
        return new Batch(Tensor.of(scratch, batched(shape, n)), target(indices));
    }

    private Tensor target(int[] indices) {
        if (labels != null) {
            long[] chosen = new long[indices.length];
            for (int k = 0; k < chosen.length; k++) {
                chosen[k] = labels[indices[k]];
            }
            return Tensor.of(chosen, chosen.length);
        }
        int each = Math.toIntExact(targetShape.elements());
        float[] chosen = new float[indices.length * each];
        for (int k = 0; k < indices.length; k++) {
            System.arraycopy(targets, indices[k] * each, chosen, k * each, each);
        }
        return Tensor.of(chosen, batched(targetShape, indices.length));
    }

    private static long[] batched(Shape shape, int n) {
        long[] dims = new long[shape.rank() + 1];
        dims[0] = n;
        System.arraycopy(shape.dims(), 0, dims, 1, shape.rank());
        return dims;
    }
}
