// What a training run was like.
package dev.heddle.training;

import java.util.List;

/**
 * A run.
 *
 * @param epochs in order
 * @param curve the training loss as it was read, every 50 steps or so
 */
public record History(List<Epoch> epochs, List<Point> curve) {
    /** The mean loss of the steps up to one, from the point before. */
    public record Point(long step, double loss) {}

    /**
     * One epoch.
     *
     * @param number counted from 1
     * @param trainLoss mean over its samples
     * @param samples trained on
     * @param seconds spent training, without validation
     * @param validation the results on the validation set, or null if there is none
     */
    public record Epoch(int number, double trainLoss, long samples, double seconds, Classification validation) {}

    public History {
        epochs = List.copyOf(epochs);
        curve = List.copyOf(curve);
    }

    /** The last epoch. */
    public Epoch last() {
        return epochs.getLast();
    }

    /** Samples trained on a second, over the epochs behind the first, which warms up (or over it, if there is no other). */
    public double samplesPerSecond() {
        List<Epoch> warm = epochs.size() > 1 ? epochs.subList(1, epochs.size()) : epochs;
        return warm.stream().mapToLong(Epoch::samples).sum() / warm.stream().mapToDouble(Epoch::seconds).sum();
    }
}
