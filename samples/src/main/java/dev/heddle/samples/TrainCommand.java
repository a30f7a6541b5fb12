// heddle train
package dev.heddle.samples;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Shape;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.training.Adam;
import dev.heddle.training.ArrayDataset;
import dev.heddle.training.Batch;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.Classification;
import dev.heddle.training.DataLoader;
import dev.heddle.training.DatasetException;
import dev.heddle.training.History;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import dev.heddle.training.Trainer;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Trains one of the sample models on real data, and says how well it did. */
@Command(name = "train", mixinStandardHelpOptions = true, description = "Train a model.", sortOptions = false,
        subcommands = {TrainGptCommand.class, TrainLstmCommand.class, TrainForecastCommand.class})
final class TrainCommand implements Callable<Integer> {
    /** What can be trained: a model on a data set. */
    enum Task {
        MNIST("mnist", "cnn"), FASHION_MNIST("fashion-mnist", "cnn"), DIGITS_MLP("digits-mlp", "mlp"), VIT("vit", "vit"),
        VIT_FASHION_MNIST("vit-fashion-mnist", "vit"), XOR("xor", "xor");

        private final String label;
        private final String model;

        Task(String label, String model) {
            this.label = label;
            this.model = model;
        }

        @Override
        public String toString() {
            return label;
        }
    }

    private static final double DECAY = 0.8; // of the learning rate, an epoch

    @Spec
    private CommandSpec spec;

    @Parameters(arity = "0..1", paramLabel = "TASK", description = "One of ${COMPLETION-CANDIDATES}; or gpt, lstm or forecast, which have options of their own.", converter = TaskConverter.class,
            completionCandidates = TaskConverter.class)
    private Task task;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--epochs", description = "Passes over the training data; default: 12 (xor: 500).")
    private Integer epochs;

    @Option(names = "--batch-size", description = "Samples a step; default: 64 (xor: 4).")
    private Integer batchSize;

    @Option(names = "--lr", description = "Learning rate at first; it falls by a fifth each epoch (xor: constant). Default: 0.001 (xor: 0.05).")
    private Double learningRate;

    @Option(names = "--precision", defaultValue = "f32", description = "One of ${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}.")
    private Precision precision;

    @Option(names = "--seed", defaultValue = "1", description = "Same seed, same result; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--data", paramLabel = "DIR", description = "Folder with the data set's four IDX files; by default they are fetched.")
    private Path data;

    @Option(names = "--out", paramLabel = "DIR", description = "Folder for the model and the plots; default: runs/TASK.")
    private Path out;

    @Option(names = "--json", description = "End with one line of JSON.")
    private boolean json;

    @Override
    public Integer call() {
        if (task == null) {
            throw new ParameterException(spec.commandLine(), "Missing required parameter: 'TASK'");
        }
        boolean xor = task == Task.XOR;
        int passes = epochs != null ? epochs : xor ? 500 : 12;
        int size = batchSize != null ? batchSize : xor ? 4 : 64;
        double rate = learningRate != null ? learningRate : xor ? 0.05 : 1e-3;
        if (passes < 1 || size < 1 || !(rate > 0 && rate < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("train: --epochs " + passes + ", --batch-size " + size + " and --lr " + rate + " must be positive");
        }
        Device chosen = Device.parse(device);
        PrintWriter err = spec.commandLine().getErr();
        if (device.equals("auto")) {
            err.println("device: " + chosen + " (the fastest that can be used; see heddle devices)");
        }
        Device.use(chosen);
        Path folder = out != null ? out : Path.of("runs", task.toString());
        requireWritable(folder);
        long start = System.nanoTime();
        Init.seed(seed);
        MnistData source = MnistData.ofTask(task.label);
        Path files = xor ? null : source.locate(data);
        ArrayDataset train = xor ? xor() : source.train(files);
        ArrayDataset test = xor ? train : source.test(files);
        Layer model = Models.of(task.model);
        model.to(precision.dtype());
        Optimizer optimizer = Adam.of(model.parameters()).learningRate(rate).lossScaler(precision.scaler()).build();
        int classes = xor ? 2 : 10;
        Trainer trainer = Trainer.of(model, optimizer, Losses::crossEntropy)
                .afterEpoch(epoch -> optimizer.learningRate(xor ? rate : rate * Math.pow(DECAY, epoch.number())));
        if (!xor) {
            err.print(model.summary(1, 1, 28, 28));
            err.flush();
            trainer.validation(DataLoader.of(test, 500), classes).progress(System.err);
        }
        History history = trainer.fit(DataLoader.of(train, size).shuffle(seed), passes);
        Classification result = xor ? Classification.of(model, DataLoader.of(test, 4), classes) : history.last().validation();
        double seconds = (System.nanoTime() - start) / 1e9;

        Path checkpoint = folder.resolve("model.safetensors");
        Checkpoint.save(checkpoint, model, null, null, passes, Map.of("model", task.model, "task", task.toString()));
        try {
            Plots.lossCurve(folder.resolve("loss.png"), history);
            Plots.confusion(folder.resolve("confusion.png"), result.confusion());
            if (!xor) {
                worst(folder.resolve("worst.png"), result, test);
            }
        } catch (RuntimeException | LinkageError e) { // Java draws no text on a machine without fonts
            if (e instanceof DatasetException) {
                throw e;
            }
            err.println("heddle: no plots: " + e);
        }
        report(history, result, seconds, chosen, folder, passes);
        return 0;
    }

    private static ArrayDataset xor() {
        return ArrayDataset.of(new float[] {0, 0, 0, 1, 1, 0, 1, 1}, Shape.of(2), new long[] {0, 1, 1, 0}, 2);
    }

    private static void worst(Path file, Classification result, ArrayDataset test) {
        int[] all = new int[test.size()];
        java.util.Arrays.setAll(all, i -> i);
        try (Batch batch = test.batch(all, 0)) {
            float[] pixels = batch.input().toFloatArray();
            float low = Float.POSITIVE_INFINITY;
            float high = Float.NEGATIVE_INFINITY;
            for (float pixel : pixels) {
                low = Math.min(low, pixel);
                high = Math.max(high, pixel);
            }
            for (int i = 0; i < pixels.length; i++) { // undo the normalisation
                pixels[i] = (pixels[i] - low) / (high - low);
            }
            Plots.worst(file, result, pixels, Math.toIntExact(test.shape().dim(-1)), batch.target().toLongArray());
        }
    }

    /** Fails at once, not after the training, if a folder cannot be written. */
    static void requireWritable(Path folder) {
        try {
            Files.createDirectories(folder);
            Files.delete(Files.createTempFile(folder, "probe", ".tmp"));
        } catch (IOException e) {
            throw new CheckpointException("output folder " + folder + " cannot be written: " + e, e);
        }
    }

    private void report(History history, Classification result, double seconds, Device chosen, Path folder, int passes) {
        PrintWriter text = spec.commandLine().getOut();
        text.printf(Locale.ROOT, "%s: training loss %.4f, test accuracy %.4f after %d epochs, %.0f samples/s, %.1f s on %s%n", task,
                history.last().trainLoss(), result.accuracy(), passes, history.samplesPerSecond(), seconds, chosen);
        text.printf("model, loss.png, confusion.png%s: in %s%n", task == Task.XOR ? "" : ", worst.png", folder);
        if (json) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("task", task.toString());
            line.put("device", chosen.toString());
            line.put("precision", precision.toString());
            line.put("seed", seed);
            line.put("epochs", passes);
            line.put("train_loss", history.last().trainLoss());
            line.put("test_loss", result.loss());
            line.put("test_accuracy", result.accuracy());
            line.put("samples_per_second", history.samplesPerSecond());
            line.put("seconds", seconds);
            line.put("peak_bytes", Debug.memory(Device.current()).peak());
            try {
                text.println(new ObjectMapper().writeValueAsString(line));
            } catch (JsonProcessingException e) {
                throw new IllegalStateException(e);
            }
        }
        text.flush();
    }

    /** Names with hyphens. */
    static final class TaskConverter implements picocli.CommandLine.ITypeConverter<Task>, Iterable<String> {
        @Override
        public Task convert(String value) {
            for (Task task : Task.values()) {
                if (task.label.equals(value)) {
                    return task;
                }
            }
            throw new picocli.CommandLine.TypeConversionException("'" + value + "' is none of " + java.util.Arrays.toString(Task.values()));
        }

        @Override
        public java.util.Iterator<String> iterator() {
            return java.util.Arrays.stream(Task.values()).map(Task::toString).iterator();
        }
    }
}
