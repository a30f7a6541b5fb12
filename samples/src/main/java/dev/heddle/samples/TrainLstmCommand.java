// heddle train lstm
package dev.heddle.samples;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.layers.Init;
import dev.heddle.training.Adam;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.DataLoader;
import dev.heddle.training.History;
import dev.heddle.training.Optimizer;
import dev.heddle.training.TokenDataset;
import dev.heddle.training.Trainer;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a character-level LSTM on the text that {@code heddle train gpt} learns from, and writes a sample of its own. */
@Command(name = "lstm", mixinStandardHelpOptions = true, description = "Train an LSTM on text: the JDK's sources, or a file.", sortOptions = false)
final class TrainLstmCommand implements Callable<Integer> {
    private static final double VALIDATION = 0.05; // of the text, its end
    private static final int VALIDATION_WINDOWS = 256;
    private static final int SAMPLE = 400;
    private static final int PARTS = 10; // of the run; the learning rate falls from one to the next

    @Spec
    private CommandSpec spec;

    @Option(names = "--text", paramLabel = "FILE", description = "Text to learn from; default: the Java sources of the JDK.")
    private Path text;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--layers", defaultValue = "2", description = "Recurrent layers; default: ${DEFAULT-VALUE}.")
    private int layers;

    @Option(names = "--dim", defaultValue = "256", description = "Features of a state; default: ${DEFAULT-VALUE}.")
    private int dim;

    @Option(names = "--context", defaultValue = "64", description = "Characters that gradients flow through; default: ${DEFAULT-VALUE}.")
    private int context;

    @Option(names = "--dropout", defaultValue = "0", description = "Between layers; default: ${DEFAULT-VALUE}.")
    private double dropout;

    @Option(names = "--steps", defaultValue = "3000", description = "Default: ${DEFAULT-VALUE}.")
    private int steps;

    @Option(names = "--batch-size", defaultValue = "32", description = "Windows a step; default: ${DEFAULT-VALUE}.")
    private int batchSize;

    @Option(names = "--lr", defaultValue = "0.003", description = "Learning rate at first; it falls to a tenth. Default: ${DEFAULT-VALUE}.")
    private double learningRate;

    @Option(names = "--seed", defaultValue = "1", description = "Same seed, same result; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/lstm", description = "Folder for the model; default: ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--json", description = "End with one line of JSON.")
    private boolean json;

    @Override
    public Integer call() {
        if (steps < 1 || batchSize < 1 || !(learningRate > 0 && learningRate < Double.POSITIVE_INFINITY) || layers < 1 || dim < 1 || context < 2) {
            throw new IllegalArgumentException("train lstm: --steps " + steps + ", --batch-size " + batchSize + ", --lr " + learningRate
                    + ", --layers " + layers + ", --dim " + dim + " and --context " + context + " must be positive");
        }
        Device chosen = Device.parse(device);
        Device.use(chosen);
        TrainCommand.requireWritable(out);
        String corpus = Corpus.read(text);
        Vocabulary vocabulary = Vocabulary.characters(CharTokenizer.of(corpus));
        int[] tokens = vocabulary.tokenizer().encode(corpus);
        int split = (int) (tokens.length * (1 - VALIDATION));
        int parts = Math.min(PARTS, steps);
        DataLoader train = DataLoader.of(TokenDataset.random(Arrays.copyOf(tokens, split), context, Math.multiplyExact(steps / parts, batchSize)),
                batchSize).shuffle(seed);
        DataLoader validation = DataLoader.of(TokenDataset.spread(Arrays.copyOfRange(tokens, split, tokens.length), context, VALIDATION_WINDOWS),
                batchSize);
        Init.seed(seed);
        CharLstm model = new CharLstm(vocabulary.size(), dim, layers, dropout);
        spec.commandLine().getErr().printf(Locale.ROOT, "%,d characters, %d distinct; %,d parameters; on %s%n", tokens.length, vocabulary.size(),
                model.parameterCount(), chosen);
        Optimizer optimizer = Adam.of(model.parameters()).learningRate(learningRate).clipNorm(1).build();
        long start = System.nanoTime();
        History history = Trainer.of(model, optimizer, CharLstm::loss).progress(System.err)
                .afterEpoch(epoch -> optimizer.learningRate(learningRate * Math.pow(0.1, (double) epoch.number() / parts))).fit(train, parts);
        double seconds = (System.nanoTime() - start) / 1e9;
        double validationLoss = Validation.loss(model, validation, (x, y) -> CharLstm.loss(model.forward(x), y));
        double rate = history.samplesPerSecond() * context;
        Path file = out.resolve("model.safetensors");
        Checkpoint.save(file, model, null, null, 1,
                Map.of("model", "lstm", "tokenizer", vocabulary.description(), "layers", "" + layers, "dim", "" + dim));
        PrintWriter print = spec.commandLine().getOut();
        print.println(new TextGenerator(model, vocabulary.tokenizer(), 0.8, 40, 1, seed).generate("\n", SAMPLE));
        print.printf(Locale.ROOT, "lstm: training loss %.4f, validation loss %.4f nats a character after %d steps, %.0f tokens/s, %.1f s on %s; model in %s%n",
                history.last().trainLoss(), validationLoss, steps / parts * parts, rate, seconds, chosen, file);
        if (json) {
            print.println(new ObjectMapper().createObjectNode().put("task", "lstm").put("device", chosen.toString()).put("seed", seed)
                    .put("steps", steps / parts * parts).put("train_loss", history.last().trainLoss()).put("validation_loss", validationLoss)
                    .put("tokens_per_second", rate).put("seconds", seconds).put("peak_bytes", Debug.memory(chosen).peak()));
        }
        print.flush();
        return 0;
    }
}
