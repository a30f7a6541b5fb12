// How well a classifier does on a data set.
package dev.heddle.training;

import dev.heddle.engine.Device;
import dev.heddle.engine.Functional;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Layer;
import java.util.Arrays;

/**
 * Results of a classifier on labelled samples, in the loader's order.
 *
 * @param loss mean cross-entropy
 * @param accuracy fraction of samples whose most probable class is their label
 * @param confusion {@code confusion[label][prediction]} counts samples
 * @param predictions the most probable class of each sample
 * @param losses the cross-entropy of each sample
 */
public record Classification(double loss, double accuracy, long[][] confusion, int[] predictions, float[] losses) {
    /**
     * Runs a model that gives logits {@code (N, C)} over a loader, in evaluation mode; its mode is restored.
     *
     * @throws ShapeException if the model gives something else
     */
    public static Classification of(Layer model, DataLoader loader, int classes) {
        boolean training = model.training();
        Device device = model.device();
        model.eval();
        long[][] confusion = new long[classes][classes];
        int[] predictions = new int[loader.samples()];
        float[] losses = new float[loader.samples()];
        double total = 0;
        int correct = 0;
        int n = 0;
        try (DataLoader.Batches batches = loader.iterator()) {
            while (batches.hasNext()) {
                Batch batch = batches.next().to(device).to(model.dtype());
                Tensor output = model.forward(batch.input());
                if (output.rank() != 2 || output.dim(1) != classes) {
                    throw new ShapeException("classification: the model gives " + output.shape() + ", expected (N, " + classes + ")");
                }
                try (Tensor logits = output;
                        Tensor predicted = logits.argmax(1);
                        Tensor loss = Functional.crossEntropy(logits, batch.target(), Losses.IGNORE_INDEX, 0)) {
                    Tensor.eval(predicted, loss);
                    int[] labels = batch.target().toIntArray();
                    int[] guesses = predicted.toIntArray();
                    float[] each = loss.toFloatArray();
                    for (int i = 0; i < labels.length; i++, n++) {
                        confusion[labels[i]][guesses[i]]++;
                        predictions[n] = guesses[i];
                        losses[n] = each[i];
                        total += each[i];
                        correct += labels[i] == guesses[i] ? 1 : 0;
                    }
                }
            }
        } finally {
            if (training) {
                model.train();
            }
        }
        return new Classification(total / n, (double) correct / n, confusion, Arrays.copyOf(predictions, n), Arrays.copyOf(losses, n));
    }
}
