// What a residual network is made of.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;

/** {@code relu(x + f(x))}, where f is two 3 x 3 convolutions, or a bottleneck of 1 x 1, 3 x 3, 1 x 1; each with batch norm. */
final class ResidualBlock extends Layer {
    private static final int EXPANSION = 4; // channels out of a bottleneck, for each in it

    private final Conv2d[] convolutions;
    private final BatchNorm2d[] norms;
    private final Sequential downsample; // of x, or null where it fits
    private final int channels;

    ResidualBlock(int in, int width, int stride, boolean bottleneck) {
        channels = bottleneck ? EXPANSION * width : width;
        convolutions = bottleneck ? new Conv2d[] {conv(in, width, 1, 1), conv(width, width, 3, stride), conv(width, channels, 1, 1)}
                : new Conv2d[] {conv(in, width, 3, stride), conv(width, width, 3, 1)};
        norms = new BatchNorm2d[convolutions.length];
        for (int i = 0; i < norms.length; i++) {
            child("conv" + (i + 1), convolutions[i]);
            norms[i] = child("bn" + (i + 1), new BatchNorm2d(i == norms.length - 1 ? channels : width));
        }
        downsample = stride == 1 && in == channels ? null
                : child("downsample", new Sequential(conv(in, channels, 1, stride), new BatchNorm2d(channels)));
    }

    /** A convolution that keeps the size but for its stride, without a bias: the norm behind it has one. */
    static Conv2d conv(int in, int out, int kernel, int stride) {
        return Conv2d.of(in, out, kernel).stride(stride).padding(kernel / 2).bias(false).build();
    }

    /** Channels out. */
    int channels() {
        return channels;
    }

    @Override
    public Tensor forward(Tensor x) {
        Tensor h = x;
        for (int i = 0; i < convolutions.length; i++) {
            h = norms[i].forward(convolutions[i].forward(h));
            h = i < convolutions.length - 1 ? h.relu() : h;
        }
        return h.add(downsample == null ? x : downsample.forward(x)).relu();
    }
}
