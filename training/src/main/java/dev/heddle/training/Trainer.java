// The training loop, with what everybody adds to it: progress, validation, a check for NaN, hooks.
package dev.heddle.training;

import dev.heddle.engine.Device;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Layer;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.BinaryOperator;
import java.util.function.Consumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * Trains a model. Everything a step computes runs as one plan in {@code optimizer.step}; the losses are summed on the device
 * and read now and then. Float inputs are converted to the model's dtype.
 */
public final class Trainer {
    private static final int READ_EVERY = 50; // steps between looks at the loss

    private final Layer model;
    private final Optimizer optimizer;
    private final BinaryOperator<Tensor> loss;
    private DataLoader validation;
    private int classes;
    private int accumulated = 1;
    private ExponentialMovingAverage average; // or null
    private PrintStream progress;
    private final List<History.Point> curve = new ArrayList<>();
    private long steps;
    private Consumer<History.Epoch> afterEpoch = epoch -> { };

    private Trainer(Layer model, Optimizer optimizer, BinaryOperator<Tensor> loss) {
        this.model = model;
        this.optimizer = optimizer;
        this.loss = loss;
    }

    /** A trainer for a loss of (output, target) that gives the mean over a batch, for example {@code Losses::crossEntropy}. */
    public static Trainer of(Layer model, Optimizer optimizer, BinaryOperator<Tensor> loss) {
        return new Trainer(model, optimizer, loss);
    }

    /** Validates a classifier after each epoch. */
    public Trainer validation(DataLoader loader, int classes) {
        this.validation = loader;
        this.classes = classes;
        return this;
    }

    /**
     * Trains on a device: moves the model and the optimizer's state there now, and batches that are elsewhere as they come.
     *
     * @throws dev.heddle.engine.DeviceUnavailableException if it cannot be used
     */
    public Trainer device(Device device) {
        model.to(device);
        optimizer.followParameters();
        return this;
    }

    /** Makes one step of each {@code batches} batches, of those left at the end of an epoch too; see {@link GradientAccumulation}. */
    public Trainer accumulate(int batches) {
        if (batches < 1) {
            throw new IllegalArgumentException("training: " + batches + " batches a step");
        }
        this.accumulated = batches;
        return this;
    }

    /** Keeps an average of the model up to date after each step, and validates with it. */
    public Trainer average(ExponentialMovingAverage average) {
        this.average = average;
        return this;
    }

    /** Shows progress: a bar if the stream is a terminal, else a line an epoch. */
    public Trainer progress(PrintStream stream) {
        this.progress = stream;
        return this;
    }

    /** Calls back after each epoch, for checkpoints and learning-rate schedules. */
    public Trainer afterEpoch(Consumer<History.Epoch> callback) {
        this.afterEpoch = callback;
        return this;
    }

    /**
     * Trains for a number of epochs.
     *
     * @throws NonFiniteLossException if the loss is NaN or infinite
     */
    public History fit(DataLoader loader, int epochs) {
        if (epochs < 1 || loader.batches() < 1) {
            throw new IllegalArgumentException("training: " + epochs + " epochs of " + loader.batches() + " batches");
        }
        List<History.Epoch> history = new ArrayList<>();
        for (int number = 1; number <= epochs; number++) {
            model.train();
            long start = System.nanoTime();
            String title = "epoch " + number + "/" + epochs;
            double trainLoss;
            long[] samples = new long[1];
            try (ProgressBar bar = bar(title, loader.batches())) {
                trainLoss = epoch(loader, number, bar, samples);
            }
            double seconds = (System.nanoTime() - start) / 1e9;
            Classification result = validate();
            History.Epoch epoch = new History.Epoch(number, trainLoss, samples[0], seconds, result);
            history.add(epoch);
            report(title, epoch);
            afterEpoch.accept(epoch);
        }
        return new History(history, curve);
    }

    private Classification validate() {
        if (validation == null || average == null) {
            return validation == null ? null : Classification.of(model, validation, classes);
        }
        Classification[] result = new Classification[1];
        average.with(() -> result[0] = Classification.of(model, validation, classes));
        return result[0];
    }

    private double epoch(DataLoader loader, int number, ProgressBar bar, long[] samples) {
        Device device = model.device();
        Tensor total = Tensor.of(new float[1], new long[0]).to(device); // sum of the losses of all samples
        GradientAccumulation sums = new GradientAccumulation();
        int step = 0;
        double sum = 0;
        long seen = 0; // samples in the sum when it was last read
        try (DataLoader.Batches batches = loader.iterator()) {
            while (batches.hasNext()) {
                Batch batch = batches.next().to(device).to(model.dtype());
                Tensor mean = loss.apply(model.forward(batch.input()), batch.target());
                Tensor next = total.add(mean.detach().mul(batch.size()));
                Gradients gradients = optimizer.backward(mean);
                if (accumulated > 1) {
                    sums.add(gradients, batch.size()); // also evaluates the sum of the losses, which nobody has read
                    gradients = (step + 1) % accumulated == 0 || step + 1 == loader.batches() ? sums.mean() : null;
                }
                if (gradients != null) {
                    optimizer.step(gradients); // the same
                    if (average != null) {
                        average.update();
                    }
                }
                mean.close();
                total.close();
                total = next;
                samples[0] += batch.size();
                steps++;
                if (++step % READ_EVERY == 0 || !batches.hasNext()) {
                    double before = sum;
                    sum = total.item();
                    if (!Double.isFinite(sum)) {
                        throw new NonFiniteLossException(number, step, sum);
                    }
                    curve.add(new History.Point(steps, (sum - before) / (samples[0] - seen)));
                    seen = samples[0];
                }
                if (bar != null) {
                    bar.step();
                    bar.setExtraMessage(seen == 0 ? "" : String.format(Locale.ROOT, "loss %.4f", sum / seen));
                }
            }
        } finally {
            total.close();
        }
        return sum / samples[0];
    }

    private ProgressBar bar(String title, int steps) {
        boolean terminal = progress != null && System.console() != null && System.console().isTerminal();
        return !terminal ? null : new ProgressBarBuilder().setTaskName(title).setInitialMax(steps)
                .setStyle(ProgressBarStyle.ASCII).setUpdateIntervalMillis(200).clearDisplayOnFinish().build();
    }

    private void report(String title, History.Epoch epoch) {
        if (progress == null) {
            return;
        }
        Classification result = epoch.validation();
        progress.printf(Locale.ROOT, "%s: loss %.4f%s, %.0f samples/s%n", title, epoch.trainLoss(), result == null ? ""
                : String.format(Locale.ROOT, ", validation loss %.4f, accuracy %.4f", result.loss(), result.accuracy()),
                epoch.samples() / epoch.seconds());
    }
}
