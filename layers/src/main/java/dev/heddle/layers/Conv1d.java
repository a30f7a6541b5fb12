// Convolution over one axis.
package dev.heddle.layers;

/**
 * {@code (N, in, L) -> (N, out, ...)}: cross-correlation with {@code weight (out, in / groups, *kernel)} plus
 * {@code bias (out)}, both uniform in {@code +-1/sqrt(fanIn)} at first, PyTorch's default.
 */
public final class Conv1d extends Convolution {
    /** Stride 1, no padding, with a bias; {@link #of} has the options. */
    public Conv1d(int in, int out, int kernel) {
        this(new Options(in, out, kernel));
    }

    private Conv1d(Options options) {
        super(1, options.resolved());
    }

    /** A builder. */
    public static Builder of(int in, int out, int kernel) {
        return new Builder(new Options(in, out, kernel));
    }

    /** Options; each is the same along all axes. */
    public static final class Builder {
        private final Options options;

        private Builder(Options options) {
            this.options = options;
        }

        /** Distance between windows, by default 1. */
        public Builder stride(int stride) {
            options.stride = stride;
            return this;
        }

        /** Zeros on both sides, by default none. */
        public Builder padding(int padding) {
            return padding(padding, padding);
        }

        /** Zeros ahead of and behind each axis. */
        public Builder padding(int before, int after) {
            options.before = before;
            options.after = after;
            options.same = false;
            return this;
        }

        /** As many zeros as keep the extents with stride 1; an odd one goes behind. */
        public Builder samePadding() {
            options.same = true;
            return this;
        }

        /** Distance between the taps of the kernel, by default 1. */
        public Builder dilation(int dilation) {
            options.dilation = dilation;
            return this;
        }

        /** Groups of channels that are convolved separately, by default 1. */
        public Builder groups(int groups) {
            options.groups = groups;
            return this;
        }

        /** Whether there is a bias, by default yes. */
        public Builder bias(boolean bias) {
            options.bias = bias;
            return this;
        }

        /**
         * The layer.
         *
         * @throws IllegalArgumentException if the options do not fit together
         */
        public Conv1d build() {
            return new Conv1d(options);
        }
    }
}
