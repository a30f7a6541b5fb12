// The table that Layer.summary prints.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;
import java.util.Locale;

/** Walks sequential layers with a recorded input, so that every line can show the shape behind it. */
final class Summary {
    private final StringBuilder text = new StringBuilder();

    private Summary() {}

    static String of(Layer layer, long... input) {
        Summary summary = new Summary();
        summary.text.append(String.format(Locale.ROOT, "%-44s %-24s %12s%n", "layer", "output", "parameters"));
        boolean training = layer.training();
        layer.eval(); // so that recording changes no running statistics
        try {
            summary.walk("", layer, Tensor.zeros(input).to(layer.dtype()));
        } finally {
            if (training) {
                layer.train();
            }
        }
        long buffers = layer.namedBuffers().values().stream().mapToLong(b -> b.shape().elements()).sum();
        summary.text.append(String.format(Locale.ROOT, "%,d parameters, %,d buffer elements%n", layer.parameterCount(), buffers));
        return summary.text.toString();
    }

    private Tensor walk(String path, Layer layer, Tensor x) {
        if (layer instanceof Sequential) {
            Tensor y = x;
            for (var child : layer.children().entrySet()) {
                y = walk(path + child.getKey() + ".", child.getValue(), y);
            }
            return y;
        }
        Tensor y = layer.forward(x);
        String name = (path.isEmpty() ? "" : path.substring(0, path.length() - 1) + " ") + layer;
        text.append(String.format(Locale.ROOT, "%-44s %-24s %,12d%n", name, y.shape(), layer.parameterCount()));
        return y;
    }
}
