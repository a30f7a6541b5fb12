// heddle predict
package dev.heddle.samples;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import dev.heddle.layers.Layer;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.DatasetException;
import dev.heddle.training.SafeTensors;
import dev.heddle.training.text.TokenizerJson;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Classifies images with a model that {@code heddle train} has saved, or texts with one of {@code heddle finetune}. */
@Command(name = "predict", mixinStandardHelpOptions = true, description = "Classify images, or texts, with a trained model.")
final class PredictCommand implements Callable<Integer> {
    private static final int SIZE = 28;

    @Spec
    private CommandSpec spec;

    @Option(names = "--model", required = true, paramLabel = "FILE", description = "model.safetensors of a training run.")
    private Path file;

    @Parameters(arity = "1..*", paramLabel = "IMAGE|TEXT", description = "Files of images of any size, bright on dark or dark on bright; "
            + "or texts, for a model that was trained on texts.")
    private List<String> inputs;

    @Override
    public Integer call() {
        Map<String, String> metadata = SafeTensors.read(file).metadata();
        String kind = metadata.getOrDefault("model", "");
        switch (kind) {
            case "cnn", "mlp", "vit" -> images(kind, MnistData.ofTask(metadata.getOrDefault("task", "")));
            case "minilm-l6" -> texts(List.of(metadata.getOrDefault("labels", "").split("\n")));
            default -> throw new CheckpointException(file + ": holds a model '" + kind + "' that takes neither images nor texts");
        }
        return 0;
    }

    private void images(String kind, MnistData data) {
        Layer model = Models.of(kind);
        Checkpoint.load(file, model, null, null);
        model.eval();
        List<String> digits = IntStream.range(0, 10).mapToObj(Integer::toString).toList();
        for (String image : inputs) {
            print(image, model.forward(Tensor.of(pixels(Path.of(image), data), 1, 1, SIZE, SIZE)), digits); // (1, 10)
        }
    }

    private void texts(List<String> labels) {
        TextClassifier model = new TextClassifier(Bert.named("minilm-l6"), labels.size());
        Checkpoint.load(file, model, null, null);
        model.eval();
        try (TokenizerJson tokenizer = MiniLm.tokenizer(file.toAbsolutePath().getParent())) {
            for (String text : inputs) {
                long[] tokens = Arrays.stream(MiniLm.tokens(tokenizer, text, FinetuneCommand.LONGEST)).asLongStream().toArray();
                print(text, model.forward(Tensor.of(tokens, 1, tokens.length)), labels); // (1, classes)
            }
        }
    }

    private void print(String input, Tensor logits, List<String> labels) {
        float[] p = Functional.softmax(logits, 1).toFloatArray();
        int best = 0;
        StringBuilder all = new StringBuilder();
        for (int i = 0; i < p.length; i++) {
            best = p[i] > p[best] ? i : best;
            all.append(String.format(Locale.ROOT, " %s:%.3f", labels.get(i), p[i]));
        }
        PrintWriter out = spec.commandLine().getOut();
        out.printf(Locale.ROOT, "%s: %s (%.3f)%s%n", input, labels.get(best), p[best], all);
        out.flush();
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
