// The loss of a model on data that it was not trained on.
package dev.heddle.samples;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.Layer;
import dev.heddle.training.Batch;
import dev.heddle.training.DataLoader;
import java.util.function.BinaryOperator;

/** Without gradients or dropout. */
final class Validation {
    private Validation() {}

    /**
     * The mean loss over all samples; leaves the model in eval mode.
     *
     * @param loss of a batch's inputs and targets, the mean over its samples
     */
    static double loss(Layer model, DataLoader loader, BinaryOperator<Tensor> loss) {
        model.eval();
        double sum = 0;
        long count = 0;
        try (DataLoader.Batches batches = loader.iterator()) {
            while (batches.hasNext()) {
                Batch batch = batches.next();
                try (Tensor mean = loss.apply(batch.input(), batch.target())) {
                    sum += mean.item() * batch.size();
                    count += batch.size();
                }
            }
        }
        return sum / count;
    }
}
