// A stream of random numbers that is the same on every device.
package dev.heddle.engine;

import dev.heddle.engine.op.Random;
import java.util.List;

/**
 * Source of random tensors: a seed and an offset into its Philox stream (see {@link Random}). Each tensor drawn moves
 * the offset on; the offset is all there is to save in a checkpoint. Not for concurrent use by several threads.
 */
public final class Generator {
    private long seed;
    private long offset;

    /** A generator at the start of the stream of a seed. */
    public Generator(long seed) {
        this.seed = seed;
    }

    /** The seed. */
    public long seed() {
        return seed;
    }

    /** Number of Philox blocks drawn so far. */
    public long offset() {
        return offset;
    }

    /** Moves to a place in the stream of a seed, such as one saved earlier. */
    public void restore(long seed, long offset) {
        this.seed = seed;
        this.offset = offset;
    }

    /** Uniform numbers in {@code [0, 1)}, {@code F32}. */
    public Tensor rand(long... shape) {
        return draw(Random.Distribution.UNIFORM, Shape.of(shape));
    }

    /** Standard normal numbers, {@code F32}. */
    public Tensor randn(long... shape) {
        return draw(Random.Distribution.NORMAL, Shape.of(shape));
    }

    /** Uniform numbers in {@code [0, 1)} of a shape, {@code F32}. */
    public Tensor rand(Shape shape) {
        return draw(Random.Distribution.UNIFORM, shape);
    }

    /** Standard normal numbers of a shape, {@code F32}. */
    public Tensor randn(Shape shape) {
        return draw(Random.Distribution.NORMAL, shape);
    }

    /**
     * Uniform integers in {@code [low, high)}, {@code I64}; exact up to a range of 2^24.
     *
     * @throws IllegalArgumentException if the range is empty or wider than 2^24
     */
    public Tensor randint(long low, long high, long... shape) {
        if (high <= low || high - low > 1 << 24) {
            throw new IllegalArgumentException("randint: range [" + low + ", " + high + ")");
        }
        return rand(shape).mul(high - low).floor().to(DType.I64).add(low);
    }

    /** A random order of {@code 0 .. n-1}, {@code I64}. */
    public Tensor randperm(long n) {
        return rand(n).argsort(0);
    }

    private Tensor draw(Random.Distribution distribution, Shape shape) {
        return Tensor.record(new Random(distribution, DType.F32, shape), take(shape.elements()));
    }

    /** Seed and offset of so many numbers, as {@link Random} takes them, and moves on. */
    List<Tensor> take(long elements) {
        List<Tensor> place = List.of(Tensor.scalar(seed, DType.I64), Tensor.scalar(offset, DType.I64));
        offset += Random.blocks(elements);
        return place;
    }
}
