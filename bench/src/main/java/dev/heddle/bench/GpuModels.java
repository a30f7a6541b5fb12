// Real models on a GPU: GPT-2, BERT-base and ResNet-50, trained in bf16 with f32 master weights.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import dev.heddle.layers.Gpt;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.ResNet;
import dev.heddle.training.AdamW;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import dev.heddle.training.SGD;
import dev.heddle.training.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.BinaryOperator;

/**
 * {@code GpuModels OUT.json FOLDER quick|full [gpt2|bert|resnet50]...}: the initial weights and the data go to
 * {@code FOLDER/NAME.safetensors}, the losses of the first steps into the report, so that {@code gpu/peers/models.py} can train the
 * same; then samples or tokens a second, peak memory, and the plan of a step with the time of each kernel ({@code FOLDER/NAME.plan}).
 * Without dropout.
 */
public final class GpuModels {
    private static final int LAUNCHED = 10; // steps between two reads of the loss

    private final boolean quick;

    private GpuModels(boolean quick) {
        this.quick = quick;
    }

    /**
     * A model and what it is trained with.
     *
     * @param units samples or tokens a step
     * @param batches inputs of the steps in turn, their targets behind them
     * @param flops of a step
     */
    private record Training(Layer layer, BinaryOperator<Tensor> criterion, Optimizer optimizer, long units, double flops, List<Tensor[]> batches) {
        double step(int i, boolean read) {
            Tensor[] batch = batches.get(i % batches.size());
            try (Tensor loss = criterion.apply(batch[0], batch[1])) {
                optimizer.step(loss.backward());
                return read ? loss.item() : Double.NaN;
            }
        }
    }

    /** Runs. */
    public static void main(String[] arguments) throws IOException {
        Device.use(Device.parse("cuda"));
        GpuModels models = new GpuModels(arguments[2].equals("quick"));
        List<String> names = arguments.length > 3 ? List.of(arguments).subList(3, arguments.length) : List.of("gpt2", "bert", "resnet50");
        ObjectNode json = new ObjectMapper().createObjectNode();
        for (String name : names) {
            models.measure(name, Path.of(arguments[1]), json.putObject(name));
            System.out.println(name + " " + json.get(name));
            Files.writeString(Path.of(arguments[0]), json.toPrettyString() + "\n");
        }
    }

    private Training of(String name, ObjectNode json) {
        Init.seed(1);
        return switch (name) {
            case "gpt2" -> gpt2(json);
            case "bert" -> bert(json);
            case "resnet50" -> resNet(json);
            default -> throw new IllegalArgumentException("models: there is no '" + name + "'");
        };
    }

    /** Each of the steps that are compared sees new tokens. */
    private Training gpt2(ObjectNode json) {
        int batch = quick ? 2 : 64;
        Gpt.Config config = quick ? new Gpt.Config(64, 16, 2, 2, 32, 0) : new Gpt.Config(50304, 1024, 12, 12, 768, 0);
        Gpt gpt = new Gpt(config);
        gpt.to(DType.BF16);
        json.put("unit", "tokens").put("heads", config.heads()).put("layers", config.layers());
        Optimizer optimizer = AdamW.of(gpt.parameters()).learningRate(3e-4).betas(0.9, 0.95).weightDecay(0.1).clipNorm(1).build();
        Tensor[][] batches = new Tensor[quick ? 3 : 200][];
        Random random = new Random(1);
        Arrays.setAll(batches, i -> sequences(random, batch, config.context(), Math.min(2000, config.vocabulary())));
        long units = (long) batch * config.context();
        return new Training(gpt, gpt::loss, optimizer, units, units * (6.0 * gpt.parameterCount() + 6.0 * config.layers() * config.dim() * config.context()),
                List.of(batches));
    }

    /** Predicts a token at each position, through the embedding's own weights. */
    private Training bert(ObjectNode json) {
        int batch = quick ? 2 : 64;
        Bert.Config config = quick ? new Bert.Config(64, 16, 2, 2, 2, 32, 64, 0, false) : new Bert.Config(30522, 512, 2, 12, 12, 768, 3072, 0, false);
        Bert bert = new Bert(config);
        bert.to(DType.BF16);
        json.put("unit", "tokens").put("heads", config.heads()).put("layers", config.layers());
        Optimizer optimizer = AdamW.of(bert.parameters()).learningRate(1e-4).weightDecay(0.01).clipNorm(1).build();
        Random random = new Random(2);
        Tensor[] tokens = sequences(random, batch, config.context(), Math.min(2000, config.vocabulary()));
        BinaryOperator<Tensor> loss = (x, y) -> Losses.crossEntropy(Functional.linear(bert.forward(x), bert.state().get("tokens").value(), null)
                .reshape(x.elements(), config.vocabulary()), y.reshape(y.elements())); // (B, T) -> (B T, vocabulary)
        long units = (long) batch * config.context();
        return new Training(bert, loss, optimizer, units, units * (6.0 * bert.parameterCount() + 12.0 * config.layers() * config.dim() * config.context()),
                List.<Tensor[]>of(tokens));
    }

    private Training resNet(ObjectNode json) {
        int batch = quick ? 4 : 256;
        int size = quick ? 32 : 224;
        ResNet.Config config = quick ? new ResNet.Config(true, List.of(1, 1), 10, true) : new ResNet.Config(true, List.of(3, 4, 6, 3), 1000, false);
        ResNet model = new ResNet(config);
        model.to(DType.BF16);
        json.put("unit", "images").putPOJO("blocks", config.blocks()).put("classes", config.classes()).put("small", config.small());
        Optimizer optimizer = SGD.of(model.parameters()).learningRate(0.01).momentum(0.9).build();
        Generator generator = new Generator(3);
        Tensor x = generator.randn(batch, size, size, 3).to(DType.BF16).eval().permute(0, 3, 1, 2); // as photographs come: channels last
        Tensor y = generator.randint(0, config.classes(), batch).eval();
        return new Training(model, (in, labels) -> Losses.crossEntropy(model.forward(in), labels), optimizer, batch, quick ? 0 : 3 * 2 * 4.09e9 * batch,
                List.<Tensor[]>of(new Tensor[] {x, y}));
    }

    /** Tokens of which most follow from the one before, and behind them the same shifted by one: there is something to learn. */
    private static Tensor[] sequences(Random random, int batch, int length, int tokens) {
        long[] x = new long[batch * length];
        long[] y = new long[batch * length];
        for (int b = 0; b < batch; b++) {
            int token = random.nextInt(tokens);
            for (int t = 0; t < length; t++) {
                x[b * length + t] = token;
                token = random.nextDouble() < 0.8 ? (17 * token + 11) % tokens : random.nextInt(tokens);
                y[b * length + t] = token;
            }
        }
        return new Tensor[] {Tensor.of(x, batch, length), Tensor.of(y, batch, length)};
    }

    private void measure(String name, Path folder, ObjectNode json) throws IOException {
        Training training = of(name, json);
        write(training, folder.resolve(name + ".safetensors"));
        training.layer.train();
        double[] losses = new double[training.batches.size() > 1 ? training.batches.size() : quick ? 3 : 20];
        Arrays.setAll(losses, i -> training.step(i, true));
        json.putPOJO("losses", losses);

        double seconds = quick ? 0.02 : 3;
        double[] rates = new double[quick ? 2 : 5];
        Arrays.setAll(rates, i -> rate(training, seconds));
        Arrays.sort(rates);
        double median = rates[rates.length / 2];
        json.putObject("units_per_second").put("median", median).put("min", rates[0]).put("max", rates[rates.length - 1]);
        json.put("units", training.units).put("tflop_per_s", median / training.units * training.flops / 1e12)
                .put("peak_bytes", Debug.memory(Device.current()).peak());

        Debug.profile(true);
        training.step(0, true);
        Debug.profile(false);
        Files.writeString(folder.resolve(name + ".plan"), Debug.lastPlan().toString());
    }

    private static double rate(Training training, double seconds) {
        training.step(0, true);
        long start = System.nanoTime();
        long end = start + (long) (seconds * 1e9);
        int steps = 0;
        while (System.nanoTime() < end) {
            for (int i = 1; i < LAUNCHED; i++) {
                training.step(steps++, false);
            }
            training.step(steps++, true);
        }
        return steps * (double) training.units / ((System.nanoTime() - start) / 1e9);
    }

    private static void write(Training training, Path file) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        training.layer.namedParameters().forEach((name, p) -> tensors.put(name, p.value()));
        for (int i = 0; i < training.batches.size(); i++) {
            tensors.put("x" + i, training.batches.get(i)[0]);
            tensors.put("y" + i, training.batches.get(i)[1]);
        }
        new SafeTensors(tensors, Map.of()).write(file);
    }
}
