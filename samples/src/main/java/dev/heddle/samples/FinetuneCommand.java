// heddle finetune
package dev.heddle.samples;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.layers.Init;
import dev.heddle.training.AdamW;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.Classification;
import dev.heddle.training.DataLoader;
import dev.heddle.training.Dataset;
import dev.heddle.training.History;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import dev.heddle.training.Trainer;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Function;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Trains a pretrained encoder further, to tell what kind a text is of. */
@Command(name = "finetune", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Teach a pretrained model (all-MiniLM-L6-v2) to tell texts apart.")
final class FinetuneCommand implements Callable<Integer> {
    /** What can be trained further. */
    enum Model {
        BERT
    }

    static final int LONGEST = 64; // tokens of a text
    private static final double HEAD = 10; // the new head learns so much faster
    private static final double DECAY = 0.5; // of the learning rate, an epoch

    @Spec
    private CommandSpec spec;

    @Parameters(paramLabel = "MODEL", description = "One of ${COMPLETION-CANDIDATES}.")
    private Model kind;

    @Option(names = "--data", paramLabel = "NAME", defaultValue = "javadoc", description = "javadoc: sentences of the JDK's documentation by "
            + "package; trec: questions by what they ask for, fetched; or a file of lines LABEL<tab>TEXT. Default: ${DEFAULT-VALUE}.")
    private String data;

    @Option(names = "--model", paramLabel = "DIR", description = "Folder with model.onnx and tokenizer.json; by default they are fetched.")
    private Path folder;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--epochs", defaultValue = "2", description = "Passes over the training data; default: ${DEFAULT-VALUE}.")
    private int epochs;

    @Option(names = "--batch-size", defaultValue = "16", description = "Texts a step; default: ${DEFAULT-VALUE}.")
    private int batchSize;

    @Option(names = "--lr", defaultValue = "0.0001", description = "Learning rate at first; half as much each epoch. Default: ${DEFAULT-VALUE}.")
    private double learningRate;

    @Option(names = "--seed", defaultValue = "1", description = "Same seed, same result; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/bert", description = "Folder for the model; default: ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--json", description = "End with one line of JSON.")
    private boolean json;

    @Override
    public Integer call() {
        if (epochs < 1 || batchSize < 1 || !(learningRate > 0 && learningRate < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("finetune: --epochs " + epochs + ", --batch-size " + batchSize + " and --lr " + learningRate
                    + " must be positive");
        }
        Device chosen = Device.parse(device);
        Device.use(chosen);
        TrainCommand.requireWritable(out);
        long start = System.nanoTime();
        LabelledText texts = LabelledText.read(data);
        Init.seed(seed);
        PrintWriter err = spec.commandLine().getErr();
        Path pretrained = MiniLm.locate(folder);
        try (MiniLm miniLm = new MiniLm(pretrained)) {
            err.printf(Locale.ROOT, "%d texts to learn from, %d to test with, %d kinds %s; on %s%n", texts.train().size(), texts.test().size(),
                    texts.labels().size(), texts.labels(), chosen);
            double before = nearestMean(miniLm, texts);
            err.printf(Locale.ROOT, "before: %.4f of the test texts are nearest to the mean of their kind%n", before);
            err.flush();
            TextClassifier model = new TextClassifier(miniLm.bert(), texts.labels().size());
            model.train();
            Optimizer optimizer = AdamW.of(miniLm.bert().parameters()).learningRate(learningRate).weightDecay(0.01)
                    .group(model.head().parameters(), learningRate * HEAD, 0.01).clipNorm(1).build();
            Function<String, int[]> tokenizer = text -> miniLm.tokens(text, LONGEST);
            Dataset train = texts.tokens(texts.train(), tokenizer, LONGEST);
            Dataset test = texts.tokens(texts.test(), tokenizer, LONGEST);
            History history = Trainer.of(model, optimizer, Losses::crossEntropy).validation(DataLoader.of(test, 50), texts.labels().size())
                    .progress(System.err).afterEpoch(epoch -> optimizer.learningRate(learningRate * Math.pow(DECAY, epoch.number())))
                    .fit(DataLoader.of(train, batchSize).shuffle(seed), epochs);
            Path file = out.resolve("model.safetensors");
            MiniLm.copyTokenizer(pretrained, out);
            Checkpoint.save(file, model, null, null, epochs, Map.of("model", "minilm-l6", "labels", String.join("\n", texts.labels())));
            report(before, history, (System.nanoTime() - start) / 1e9, chosen, file);
        }
        return 0;
    }

    /** How many of the test's texts are nearest to the mean vector of their kind: what the model can do as it comes. */
    private static double nearestMean(MiniLm miniLm, LabelledText texts) {
        List<String> labels = texts.labels();
        float[][] vectors = miniLm.embed(texts.train().stream().map(LabelledText.Sample::text).toList());
        float[][] means = new float[labels.size()][miniLm.bert().config().dim()];
        for (int i = 0; i < vectors.length; i++) {
            float[] mean = means[labels.indexOf(texts.train().get(i).label())];
            for (int c = 0; c < mean.length; c++) {
                mean[c] += vectors[i][c];
            }
        }
        for (float[] mean : means) {
            double length = Math.sqrt(MiniLm.similarity(mean, mean));
            for (int c = 0; c < mean.length; c++) {
                mean[c] /= (float) length;
            }
        }
        float[][] queries = miniLm.embed(texts.test().stream().map(LabelledText.Sample::text).toList());
        int correct = 0;
        for (int i = 0; i < queries.length; i++) {
            int best = 0;
            for (int k = 1; k < means.length; k++) {
                best = MiniLm.similarity(queries[i], means[k]) > MiniLm.similarity(queries[i], means[best]) ? k : best;
            }
            correct += labels.get(best).equals(texts.test().get(i).label()) ? 1 : 0;
        }
        return (double) correct / queries.length;
    }

    private void report(double before, History history, double seconds, Device chosen, Path file) {
        Classification result = history.last().validation();
        PrintWriter text = spec.commandLine().getOut();
        text.printf(Locale.ROOT, "bert on %s: test accuracy %.4f, before %.4f; training loss %.4f after %d epochs, %.0f texts/s, %.1f s on %s; "
                + "model in %s%n", data, result.accuracy(), before, history.last().trainLoss(), epochs, history.samplesPerSecond(), seconds, chosen, file);
        if (json) {
            ObjectNode line = new ObjectMapper().createObjectNode();
            line.put("task", "bert").put("data", data).put("device", chosen.toString()).put("seed", seed).put("epochs", epochs)
                    .put("train_loss", history.last().trainLoss()).put("test_loss", result.loss()).put("accuracy_before", before)
                    .put("test_accuracy", result.accuracy()).put("samples_per_second", history.samplesPerSecond()).put("seconds", seconds)
                    .put("peak_bytes", Debug.memory(chosen).peak());
            text.println(line);
        }
        text.flush();
    }
}
