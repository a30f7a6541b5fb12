// heddle train forecast
package dev.heddle.samples;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.Lstm;
import dev.heddle.training.Adam;
import dev.heddle.training.ArrayDataset;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.DataLoader;
import dev.heddle.training.DatasetException;
import dev.heddle.training.History;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import dev.heddle.training.Trainer;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * Forecasts the next value of a time series from those before it. The first four fifths are learned from; of the rest every value is
 * forecast, and the errors are compared with those of two forecasts that learn nothing: "as now", and "changes as a season ago".
 */
@Command(name = "forecast", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Train an LSTM to forecast a time series: carbon dioxide over Mauna Loa, or a column of a CSV file.")
final class TrainForecastCommand implements Callable<Integer> {
    private static final double TRAINING = 0.8; // of the series
    private static final double DECAY = 0.05; // of the learning rate, over the run

    @Spec
    private CommandSpec spec;

    @Option(names = "--data", paramLabel = "FILE", description = "CSV file whose first line names its columns; default: carbon dioxide, monthly.")
    private Path data;

    @Option(names = "--column", description = "Its column; default: the last.")
    private String column;

    @Option(names = "--season", defaultValue = "12", description = "Steps of a season; default: ${DEFAULT-VALUE}.")
    private int season;

    @Option(names = "--window", defaultValue = "36", description = "Steps that a forecast sees; default: ${DEFAULT-VALUE}.")
    private int window;

    @Option(names = "--dim", defaultValue = "32", description = "Features of the state; default: ${DEFAULT-VALUE}.")
    private int dim;

    @Option(names = "--epochs", defaultValue = "60", description = "Default: ${DEFAULT-VALUE}.")
    private int epochs;

    @Option(names = "--batch-size", defaultValue = "32", description = "Windows a step; default: ${DEFAULT-VALUE}.")
    private int batchSize;

    @Option(names = "--lr", defaultValue = "0.01", description = "Learning rate at first; default: ${DEFAULT-VALUE}.")
    private double learningRate;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--seed", defaultValue = "1", description = "Same seed, same result; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/forecast", description = "Folder for the model and the plot; default: ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--json", description = "End with one line of JSON.")
    private boolean json;

    /** The changes up to now, {@code (B, T, 1)}, to the next one, {@code (B, 1)}. */
    private static final class Model extends Layer {
        private final Lstm lstm;
        private final Linear head;

        Model(int dim) {
            lstm = child("lstm", new Lstm(1, dim));
            head = child("head", new Linear(dim, 1));
        }

        @Override
        public Tensor forward(Tensor x) {
            return head.forward(lstm.forward(x).select(1, -1)); // (B, dim) -> (B, 1)
        }
    }

    @Override
    public Integer call() {
        if (epochs < 1 || batchSize < 1 || !(learningRate > 0 && learningRate < Double.POSITIVE_INFINITY) || season < 1 || window < 1 || dim < 1) {
            throw new IllegalArgumentException("train forecast: --epochs " + epochs + ", --batch-size " + batchSize + ", --lr " + learningRate
                    + ", --season " + season + ", --window " + window + " and --dim " + dim + " must be positive");
        }
        Device chosen = Device.parse(device);
        Device.use(chosen);
        TrainCommand.requireWritable(out);
        double[] series = data == null ? Series.carbonDioxide() : Series.read(data, column);
        int split = (int) (series.length * TRAINING); // index of the first value that is only forecast
        int history = Math.max(window, season) + 1; // values before the first forecast
        if (split <= history + batchSize || series.length - split < 2) {
            throw new DatasetException("train forecast: a series of " + series.length + " values is too short for --window " + window + ", --season " + season
                    + " and --batch-size " + batchSize);
        }
        // the model sees changes, scaled to mean 0 and variance 1 by what they are in the training part
        double[] changes = IntStream.range(0, series.length).mapToDouble(t -> t == 0 ? 0 : series[t] - series[t - 1]).toArray();
        double mean = Arrays.stream(changes, 1, split).average().orElseThrow();
        double deviation = Math.sqrt(Arrays.stream(changes, 1, split).map(c -> (c - mean) * (c - mean)).average().orElseThrow());
        if (!(deviation > 0)) {
            throw new DatasetException("train forecast: the series changes by " + mean + " always: there is nothing to learn");
        }
        float[] scaled = new float[series.length];
        for (int t = 0; t < scaled.length; t++) {
            scaled[t] = (float) ((changes[t] - mean) / deviation);
        }
        Init.seed(seed);
        Model model = new Model(dim);
        Optimizer optimizer = Adam.of(model.parameters()).learningRate(learningRate).clipNorm(1).build();
        long start = System.nanoTime();
        History run = Trainer.of(model, optimizer, Losses::mse)
                .afterEpoch(epoch -> optimizer.learningRate(learningRate * Math.pow(DECAY, (double) epoch.number() / epochs)))
                .fit(DataLoader.of(windows(scaled, history, split), batchSize).shuffle(seed), epochs);
        double seconds = (System.nanoTime() - start) / 1e9;

        float[] forecast = forecast(model, windows(scaled, split, series.length));
        double error = rmse(series, split, t -> series[t - 1] + forecast[t - split] * deviation + mean);
        double naive = rmse(series, split, t -> series[t - 1]);
        double seasonal = rmse(series, split, t -> series[t - 1] + changes[t - season]);
        Path file = out.resolve("model.safetensors");
        Checkpoint.save(file, model, null, null, epochs, Map.of("model", "forecast", "dim", "" + dim, "window", "" + window));
        try {
            double[] predicted = IntStream.range(split, series.length).mapToDouble(t -> series[t - 1] + forecast[t - split] * deviation + mean).toArray();
            Plots.forecast(out.resolve("forecast.png"), split, Arrays.copyOfRange(series, split, series.length), predicted);
        } catch (RuntimeException | LinkageError e) { // Java draws no text on a machine without fonts
            spec.commandLine().getErr().println("heddle: no plot: " + e);
        }
        PrintWriter print = spec.commandLine().getOut();
        print.printf(Locale.ROOT, "forecast: error %.4f on %d held-out values; of 'as now' %.4f, of 'changes as a season ago' %.4f (root mean squares); "
                + "%.1f s on %s; model and forecast.png in %s%n", error, series.length - split, naive, seasonal, seconds, chosen, out);
        if (json) {
            print.println(new ObjectMapper().createObjectNode().put("task", "forecast").put("device", chosen.toString()).put("seed", seed)
                    .put("epochs", epochs).put("train_loss", run.last().trainLoss()).put("test_rmse", error).put("naive_rmse", naive)
                    .put("seasonal_rmse", seasonal).put("samples_per_second", run.samplesPerSecond()).put("seconds", seconds)
                    .put("peak_bytes", Debug.memory(chosen).peak()));
        }
        print.flush();
        return 0;
    }

    /** For each time in {@code [from, to)} the changes before it, and the one to be forecast. */
    private ArrayDataset windows(float[] changes, int from, int to) {
        float[] inputs = new float[(to - from) * window];
        for (int t = from; t < to; t++) {
            System.arraycopy(changes, t - window, inputs, (t - from) * window, window);
        }
        return ArrayDataset.of(inputs, Shape.of(window, 1), Arrays.copyOfRange(changes, from, to), Shape.of(1));
    }

    private static float[] forecast(Model model, ArrayDataset windows) {
        model.eval();
        int[] all = IntStream.range(0, windows.size()).toArray();
        try (var batch = windows.batch(all, 0)) {
            return model.forward(batch.input()).toFloatArray();
        }
    }

    private static double rmse(double[] series, int from, IntToDoubleFunction forecast) {
        return Math.sqrt(IntStream.range(from, series.length).mapToDouble(t -> Math.pow(forecast.applyAsDouble(t) - series[t], 2)).average().orElseThrow());
    }
}
