// heddle predict
package dev.heddle.samples;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Layer;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.DatasetException;
import dev.heddle.training.SafeTensors;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import javax.imageio.ImageIO;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Classifies images with a model that {@code heddle train} has saved. */
@Command(name = "predict", mixinStandardHelpOptions = true, description = "Classify images with a trained model.")
final class PredictCommand implements Callable<Integer> {
    private static final int SIZE = 28;

    @Spec
    private CommandSpec spec;

    @Option(names = "--model", required = true, paramLabel = "FILE", description = "model.safetensors of a training run.")
    private Path file;

    @Parameters(arity = "1..*", paramLabel = "IMAGE", description = "Images of any size: bright on dark, or dark on bright.")
    private List<Path> images;

    @Override
    public Integer call() {
        String kind = SafeTensors.read(file).metadata().getOrDefault("model", "");
        String task = SafeTensors.read(file).metadata().getOrDefault("task", "");
        if (!List.of("cnn", "mlp", "vit").contains(kind)) {
            throw new CheckpointException(file + ": holds a model '" + kind + "' that takes no images");
        }
        Layer model = Models.of(kind);
        Checkpoint.load(file, model, null, null);
        model.eval();
        MnistData data = MnistData.ofTask(task);
        PrintWriter out = spec.commandLine().getOut();
        for (Path image : images) {
            Tensor x = Tensor.of(pixels(image, data), 1, 1, SIZE, SIZE);
            float[] p = Functional.softmax(model.forward(x), 1).toFloatArray();
            int best = 0;
            for (int i = 1; i < p.length; i++) {
                best = p[i] > p[best] ? i : best;
            }
            StringBuilder all = new StringBuilder();
            for (int i = 0; i < p.length; i++) {
                all.append(String.format(Locale.ROOT, " %d:%.3f", i, p[i]));
            }
            out.printf(Locale.ROOT, "%s: %d (%.3f)%s%n", image, best, p[best], all);
        }
        out.flush();
        return 0;
    }

    /** The image in grey, 28 x 28, bright on dark, normalised as in training. */
    private static float[] pixels(Path file, MnistData data) {
        BufferedImage image;
        try {
            image = ImageIO.read(file.toFile());
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be read: " + e.getMessage(), e);
        }
        if (image == null) {
            throw new DatasetException(file + ": is no image of a known format");
        }
        BufferedImage grey = new BufferedImage(SIZE, SIZE, BufferedImage.TYPE_BYTE_GRAY);
        Graphics2D g = grey.createGraphics();
        g.setRenderingHint(RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
        g.drawImage(image, 0, 0, SIZE, SIZE, null);
        g.dispose();
        float[] pixels = new float[SIZE * SIZE];
        float sum = 0;
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = grey.getRaster().getSample(i % SIZE, i / SIZE, 0) / 255f;
            sum += pixels[i];
        }
        boolean darkOnBright = sum > pixels.length / 2f;
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = data.normalized(darkOnBright ? 1 - pixels[i] : pixels[i]);
        }
        return pixels;
    }
}
