// Everything a convolution is planned by, apart from addresses: the key under which a planned one is found again.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Window;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * Sizes of {@code x (N, C, *X)}, {@code w (O, C/groups, *K)} and {@code y (N, O, *Y)}, with 1 to 3 spatial axes.
 * {@code w} is dense in that order; {@code x} and {@code y} are dense in that order too, or as {@code (N, *X, C)}.
 *
 * @param dtype of {@code x}, {@code w}, bias and {@code y}: {@code F32}, {@code BF16} or {@code F16}
 * @param groups divides {@code inChannels} and {@code outChannels}
 * @param xChannelsLast whether {@code x} (or its gradient) lies as {@code (N, *X, C)}
 * @param yChannelsLast whether {@code y} (or its gradient) does
 * @param bias whether the forward direction adds a {@code (O)} bias
 * @param sum whether the forward direction adds to what {@code y} holds, before {@code relu}
 * @param relu whether the forward direction ends in {@code max(y, 0)}
 */
public record OneDnnConvolutionShape(DType dtype, long batch, long inChannels, long outChannels, int groups,
        List<Long> input, List<Long> kernel, Window window, boolean xChannelsLast, boolean yChannelsLast,
        boolean bias, boolean sum, boolean relu) {

    /** Copies the lists. */
    public OneDnnConvolutionShape {
        input = List.copyOf(input);
        kernel = List.copyOf(kernel);
    }

    /**
     * Other names of the same thing, the one worth trying first first: with one channel both layouts are the same memory,
     * but oneDNN has kernels for some combinations only, and faster ones for an {@code x} that is not channels-last.
     */
    List<OneDnnConvolutionShape> equivalents() {
        List<OneDnnConvolutionShape> equivalents = new ArrayList<>();
        for (boolean x : inChannels == 1 ? new boolean[] {false, true} : new boolean[] {xChannelsLast}) {
            for (boolean y : outChannels == 1 ? new boolean[] {x, !x} : new boolean[] {yChannelsLast}) {
                equivalents.add(new OneDnnConvolutionShape(dtype, batch, inChannels, outChannels, groups, input, kernel,
                        window, x, y, bias, sum, relu));
            }
        }
        return equivalents;
    }

    /** Extents of the spatial axes of {@code y}. */
    List<Long> output() {
        return IntStream.range(0, input.size()).mapToObj(i -> window.outputs("convolution", i, input.get(i), kernel.get(i)))
                .toList();
    }

    /** {@code (n, C, *X)}. */
    long[] xDims(long n) {
        return dims(input, n, inChannels);
    }

    /** {@code (n, O, *Y)}. */
    long[] yDims(long n) {
        return dims(output(), n, outChannels);
    }

    /** {@code (O, C, *K)}, or {@code (groups, O/groups, C/groups, *K)} as oneDNN has it. */
    long[] weightDims() {
        return groups == 1 ? dims(kernel, outChannels, inChannels)
                : dims(kernel, groups, outChannels / groups, inChannels / groups);
    }

    /** Strides of a dense tensor with the given dimensions, in elements. */
    static long[] strides(long[] dims, boolean channelsLast) {
        long[] strides = new long[dims.length];
        long stride = 1;
        if (channelsLast) {
            strides[1] = stride;
            stride = dims[1];
        }
        for (int i = dims.length - 1; i >= 0; i--) {
            if (i != 1 || !channelsLast) {
                strides[i] = stride;
                stride *= dims[i];
            }
        }
        return strides;
    }

    private static long[] dims(List<Long> spatial, long... leading) {
        return LongStream.concat(LongStream.of(leading), spatial.stream().mapToLong(Long::longValue)).toArray();
    }
}
