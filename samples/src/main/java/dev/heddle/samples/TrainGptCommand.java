// heddle train gpt
package dev.heddle.samples;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.Gpt;
import dev.heddle.layers.Init;
import dev.heddle.training.AdamW;
import dev.heddle.training.Batch;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.DataLoader;
import dev.heddle.training.DatasetException;
import dev.heddle.training.GradientAccumulation;
import dev.heddle.training.LossScaler;
import dev.heddle.training.NonFiniteLossException;
import dev.heddle.training.Optimizer;
import dev.heddle.training.SafeTensors;
import dev.heddle.training.Schedule;
import dev.heddle.training.TokenDataset;
import dev.heddle.training.TokenShards;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a GPT on a text, by characters or by GPT-2's tokens, and writes a sample of its own. */
@Command(name = "gpt", mixinStandardHelpOptions = true, description = "Train a GPT on text: the JDK's sources, a file, or packed tokens.", sortOptions = false)
final class TrainGptCommand implements Callable<Integer> {
    private static final double VALIDATION = 0.05; // of the text, its end
    private static final int VALIDATION_WINDOWS = 256;
    private static final int SAMPLE = 400;
    private static final int READ_EVERY = 20; // steps between looks at the loss

    @Spec
    private CommandSpec spec;

    @Option(names = "--text", paramLabel = "FILE", description = "Text to learn from; default: the Java sources of the JDK.")
    private Path text;

    @Option(names = "--tokenizer", defaultValue = "char", description = "Of that text, one of ${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}.")
    private Vocabulary.Kind tokenizer;

    @Option(names = "--data", paramLabel = "FOLDER", description = "Tokens to learn from instead, made by heddle data pack.")
    private Path data;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--layers", defaultValue = "4", description = "Blocks; default: ${DEFAULT-VALUE}.")
    private int layers;

    @Option(names = "--heads", defaultValue = "8", description = "Attention heads; default: ${DEFAULT-VALUE}.")
    private int heads;

    @Option(names = "--dim", defaultValue = "256", description = "Features of a position; default: ${DEFAULT-VALUE}.")
    private int dim;

    @Option(names = "--context", defaultValue = "128", description = "Tokens a prediction can see; default: ${DEFAULT-VALUE}.")
    private int context;

    @Option(names = "--dropout", defaultValue = "0", description = "Default: ${DEFAULT-VALUE}.")
    private double dropout;

    @Option(names = "--steps", defaultValue = "3000", description = "Default: ${DEFAULT-VALUE}.")
    private int steps;

    @Option(names = "--batch-size", defaultValue = "16", description = "Windows a step; default: ${DEFAULT-VALUE}.")
    private int batchSize;

    @Option(names = "--accumulate", defaultValue = "1", description = "Batches a step, for those too large at once; default: ${DEFAULT-VALUE}.")
    private int accumulate;

    @Option(names = "--recompute", description = "Compute blocks again for their gradients: less memory, more time.")
    private boolean recompute;

    @Option(names = "--lr", defaultValue = "0.001", description = "Highest learning rate; default: ${DEFAULT-VALUE}.")
    private double learningRate;

    @Option(names = "--precision", defaultValue = "f32", description = "One of ${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}.")
    private Precision precision;

    @Option(names = "--seed", defaultValue = "1", description = "Same seed, same result; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/gpt", description = "Folder for the model; default: ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--save-every", paramLabel = "STEPS", defaultValue = "500", description = "Validate and save a checkpoint; default: ${DEFAULT-VALUE}.")
    private int saveEvery;

    @Option(names = "--resume", description = "Go on from the checkpoint in --out; the result is as if training had never stopped.")
    private boolean resume;

    @Option(names = "--json", description = "End with one line of JSON.")
    private boolean json;

    @Override
    public Integer call() {
        if (steps < 1 || batchSize < 1 || accumulate < 1 || saveEvery < 1 || !(learningRate > 0 && learningRate < Double.POSITIVE_INFINITY) || layers < 1 || context < 2) {
            throw new IllegalArgumentException("train gpt: --steps " + steps + ", --batch-size " + batchSize + ", --accumulate " + accumulate + ", --save-every " + saveEvery
                    + ", --lr " + learningRate + ", --layers " + layers + " and --context " + context + " must be positive");
        }
        PrintWriter err = spec.commandLine().getErr();
        Device chosen = Device.parse(device);
        Device.use(chosen);
        TrainCommand.requireWritable(out);
        int windows = Math.multiplyExact(Math.min(saveEvery, steps), Math.multiplyExact(accumulate, batchSize)); // of a part
        Vocabulary vocabulary;
        TokenDataset training;
        TokenDataset held;
        long size;
        if (data != null) {
            TokenShards packed = TokenShards.open(data, "train");
            vocabulary = Vocabulary.parse(packed.tokenizer());
            size = packed.size();
            training = TokenDataset.random(packed, context, windows);
            TokenShards rest = TokenShards.open(data, "validation");
            if (!rest.tokenizer().equals(packed.tokenizer())) {
                throw new DatasetException(data + ": tokens to train and to validate with were made by different tokenizers");
            }
            held = TokenDataset.spread(rest, context, VALIDATION_WINDOWS);
        } else {
            String corpus = Corpus.read(text);
            vocabulary = tokenizer.of(List.of(corpus));
            int[] tokens = vocabulary.tokenizer().encode(corpus);
            int split = (int) (tokens.length * (1 - VALIDATION));
            size = tokens.length;
            training = TokenDataset.random(Arrays.copyOf(tokens, split), context, windows);
            held = TokenDataset.spread(Arrays.copyOfRange(tokens, split, tokens.length), context, VALIDATION_WINDOWS);
        }
        DataLoader train = DataLoader.of(training, batchSize).shuffle(seed);
        DataLoader validation = DataLoader.of(held, batchSize);
        Init.seed(seed);
        Gpt model = new Gpt(new Gpt.Config(vocabulary.size(), context, layers, heads, dim, dropout));
        model.recompute(recompute).to(precision.dtype());
        err.printf(Locale.ROOT, "%,d %ss, %d distinct; %,d parameters; on %s%n", size, vocabulary.unit(), vocabulary.size(),
                model.parameterCount(), chosen);
        List<Variable> matrices = model.parameters().stream().filter(p -> p.shape().rank() > 1).toList();
        List<Variable> vectors = model.parameters().stream().filter(p -> p.shape().rank() == 1).toList();
        LossScaler scaler = precision.scaler();
        Optimizer optimizer = AdamW.of(matrices).learningRate(learningRate).weightDecay(0.1).betas(0.9, 0.99)
                .group(vectors, learningRate, 0).clipNorm(1).lossScaler(scaler).build();
        Schedule schedule = Schedule.cosine(learningRate, learningRate / 10, Math.max(1, steps - steps / 20)).warmUp(Math.max(1, steps / 20));

        Map<String, String> metadata = Map.of("model", "gpt", "tokenizer", vocabulary.description(), "context", "" + context, "layers", "" + layers,
                "heads", "" + heads, "dim", "" + dim);
        Map<String, String> run = new TreeMap<>(metadata);
        run.put("training", "tokens " + size + ", dropout " + dropout + ", steps " + steps + ", batch size " + batchSize + ", accumulate " + accumulate
                + ", learning rate " + learningRate + ", precision " + precision + ", seed " + seed + ", save every " + saveEvery);
        Path checkpoint = out.resolve("checkpoint.safetensors");
        int done = resume ? resume(checkpoint, run, model, optimizer) : 0;
        long start = System.nanoTime();
        double trainLoss = 0;
        double validationLoss = 0;
        for (int step = done; step < steps;) {
            train.epoch(step / saveEvery);
            int end = Math.min(steps, step + saveEvery);
            trainLoss = train(model, optimizer, scaler, schedule, train, step, end, err);
            validationLoss = Validation.loss(model, validation, model::loss);
            step = end;
            err.printf(Locale.ROOT, "step %d/%d: training loss %.4f, validation loss %.4f, %.0f tokens/s%n", step, steps, trainLoss, validationLoss,
                    (step - done) * (double) accumulate * batchSize * context / ((System.nanoTime() - start) / 1e9));
            err.flush();
            Checkpoint.save(checkpoint, model, optimizer, Init.generator(), step, run);
        }
        double seconds = (System.nanoTime() - start) / 1e9;
        double rate = (double) (steps - done) * accumulate * batchSize * context / seconds;
        Path file = out.resolve("model.safetensors");
        Checkpoint.save(file, model, null, null, 1, metadata);
        PrintWriter print = spec.commandLine().getOut();
        print.println(new TextGenerator(model, vocabulary.tokenizer(), 0.8, 40, 1, seed).generate("\n", SAMPLE));
        print.printf(Locale.ROOT, "gpt: training loss %.4f, validation loss %.4f nats a %s after %d steps, %.0f tokens/s, %.1f s on %s; model in %s%n",
                trainLoss, validationLoss, vocabulary.unit(), steps, rate, seconds, chosen, file);
        if (json) {
            ObjectNode line = new ObjectMapper().createObjectNode();
            line.put("task", "gpt").put("device", chosen.toString()).put("precision", precision.toString()).put("seed", seed).put("steps", steps).put("train_loss", trainLoss)
                    .put("validation_loss", validationLoss).put("tokens_per_second", rate).put("seconds", seconds)
                    .put("peak_bytes", Debug.memory(chosen).peak());
            print.println(line);
        }
        print.flush();
        return 0;
    }

    /** Restores a checkpoint; how many steps it has behind it. */
    private int resume(Path checkpoint, Map<String, String> run, Gpt model, Optimizer optimizer) {
        Map<String, String> saved = SafeTensors.read(checkpoint).metadata();
        run.forEach((name, value) -> {
            if (!value.equals(saved.get(name))) {
                throw new CheckpointException(checkpoint + ": was made by another run: its " + name + " is '" + saved.get(name) + "', not '" + value + "'");
            }
        });
        long done = Long.parseLong(Checkpoint.load(checkpoint, model, optimizer, Init.generator()).get("epoch"));
        if (done >= steps || done % saveEvery != 0) {
            throw new CheckpointException(checkpoint + ": has " + done + " of " + steps + " steps behind it, there is nothing to go on with");
        }
        return (int) done;
    }

    /** Steps from {@code from} up to {@code to}; the mean loss of the last tenth of them. */
    private double train(Gpt model, Optimizer optimizer, LossScaler scaler, Schedule schedule, DataLoader loader, int from, int to, PrintWriter err) {
        model.train();
        double tail = 0;
        int counted = 0;
        GradientAccumulation sums = new GradientAccumulation();
        try (DataLoader.Batches batches = loader.iterator()) {
            for (int step = from + 1; step <= to; step++) {
                optimizer.learningRate(schedule.at(step - 1));
                Gradients gradients = gradients(model, scaler, batches.next());
                if (accumulate > 1) {
                    for (int i = 1; i <= accumulate; i++) {
                        sums.add(gradients);
                        gradients.loss().close();
                        gradients = i == accumulate ? sums.mean() : gradients(model, scaler, batches.next());
                    }
                }
                optimizer.step(gradients);
                boolean last = step > to - Math.max(1, (to - from) / 10);
                if (last || step % READ_EVERY == 0) {
                    double value = gradients.loss().item();
                    if (!Double.isFinite(value)) {
                        throw new NonFiniteLossException(1, step, value);
                    }
                    tail += last ? value : 0;
                    counted += last ? 1 : 0;
                    if (step % (READ_EVERY * 5) == 0) {
                        err.printf(Locale.ROOT, "step %d/%d: loss %.4f%n", step, steps, value);
                        err.flush();
                    }
                }
                gradients.loss().close();
            }
        }
        return tail / counted;
    }

    private static Gradients gradients(Gpt model, LossScaler scaler, Batch batch) {
        Tensor loss = model.loss(batch.input(), batch.target());
        return scaler == null ? loss.backward() : scaler.backward(loss);
    }
}
