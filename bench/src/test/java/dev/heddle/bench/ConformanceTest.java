// Every model family beside an independent implementation in libtorch: outputs, and the gradients of all parameters.
package dev.heddle.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.engine.DType;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.Bert;
import dev.heddle.layers.Gpt;
import dev.heddle.layers.Gru;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Llama;
import dev.heddle.layers.Lstm;
import dev.heddle.layers.RecurrentLayer;
import dev.heddle.layers.Rnn;
import dev.heddle.layers.Transformer;
import dev.heddle.layers.VisionTransformer;
import java.util.Arrays;
import java.util.Random;
import java.util.function.Function;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@EnabledOnOs(value = OS.LINUX, architectures = "amd64", disabledReason = "libtorch is fetched for Linux on x86-64 only")
class ConformanceTest {
    private static final double TOLERANCE = 1e-4; // relative to the largest element
    private static final int V = 19;

    private static <L extends Layer> L scattered(L model) {
        for (Variable p : model.parameters()) { // norms and biases too
            p.set(p.value().add(Init.normal(0, 0.2, p.shape().dims())));
        }
        Variable.settle(model.parameters());
        return model;
    }

    private static long[] tokens(int n) {
        return new Random(n).longs(n, 0, V).toArray();
    }

    /** The sum of the outputs, each times a number of its own. */
    private static double[] factors(long n) {
        return new Random(n).doubles(n, -1, 1).toArray();
    }

    private static void compare(double[] expected, double[] actual, String what) {
        assertEquals(expected.length, actual.length, what);
        double largest = Arrays.stream(expected).map(Math::abs).max().orElse(0);
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], TOLERANCE * Math.max(1, largest), what + ", element " + i);
        }
    }

    /** Compares outputs; then the gradients of a loss, by default a random sum of the outputs. */
    @SuppressWarnings("try") // the scope frees what is made inside it
    private static void conforms(Layer model, Tensor ours, Function<LibTorchModels, org.bytedeco.pytorch.Tensor> theirs, Tensor ourLoss,
            Function<org.bytedeco.pytorch.Tensor, org.bytedeco.pytorch.Tensor> theirLoss) {
        try (PointerScope scope = new PointerScope()) {
            LibTorchModels peer = new LibTorchModels(model.namedParameters());
            double[] weights = factors(ours.elements());
            org.bytedeco.pytorch.Tensor output = theirs.apply(peer);
            org.bytedeco.pytorch.Tensor loss = theirLoss != null ? theirLoss.apply(output)
                    : output.mul(LibTorchModels.doubles(weights, output.shape())).sum();
            loss.backward();
            Tensor scalar = ourLoss != null ? ourLoss : ours.mul(Tensor.of(weights, ours.shape().dims()).to(ours.dtype())).sum();
            Gradients gradients = scalar.backward();
            Tensor.eval(model.parameters().stream().map(gradients::get).toArray(Tensor[]::new));
            compare(LibTorchModels.values(output), ours.toDoubleArray(), "output");
            compare(LibTorchModels.values(loss), scalar.toDoubleArray(), "loss");
            model.namedParameters().forEach((name, p) -> compare(peer.gradient(name), gradients.get(p).toDoubleArray(), "gradient of " + name));
        }
    }

    @Test
    void gpt() {
        Init.seed(1);
        Gpt model = scattered(new Gpt(new Gpt.Config(V, 12, 2, 3, 24, 0)));
        long[] x = tokens(18);
        conforms(model, model.forward(Tensor.of(x, 2, 9)).keep(), peer -> peer.gpt(LibTorchModels.longs(x, 2, 9), 2, 3), null, null);
    }

    @Test
    void bert() {
        Init.seed(2);
        Bert model = scattered(new Bert(new Bert.Config(V, 12, 2, 2, 3, 24, 40, 0, true)));
        long[] x = tokens(24);
        long[] segment = new Random(1).longs(24, 0, 2).toArray();
        int[] lengths = {8, 5, 1};
        Tensor ours = model.pooled(model.forward(Tensor.of(x, 3, 8), Tensor.of(segment, 3, 8), Tensor.of(lengths, 3))).keep();
        conforms(model, ours, peer -> peer.bert(LibTorchModels.longs(x, 3, 8), LibTorchModels.longs(segment, 3, 8), lengths, 2, 3), null, null);
    }

    @Test
    void llama() {
        Init.seed(3);
        Llama model = scattered(new Llama(new Llama.Config(V, 16, 2, 6, 2, 24, 36, 500, 1e-5, false)));
        long[] x = tokens(26);
        conforms(model, model.forward(Tensor.of(x, 2, 13)).keep(), peer -> peer.llama(LibTorchModels.longs(x, 2, 13), 2, 6, 2, 500, 1e-5),
                null, null);
    }

    @Test
    void visionTransformer() {
        Init.seed(4);
        VisionTransformer model = scattered(new VisionTransformer(new VisionTransformer.Config(12, 4, 3, 7, 2, 3, 24, 40, 0)));
        double[] pixels = factors(2 * 3 * 12 * 12);
        conforms(model, model.forward(Tensor.of(pixels, 2, 3, 12, 12).to(DType.F32)).keep(),
                peer -> peer.visionTransformer(LibTorchModels.doubles(pixels, 2, 3, 12, 12), 4, 2, 3), null, null);
    }

    @Test
    void transformerAndItsLoss() {
        Init.seed(5);
        Transformer model = scattered(new Transformer(new Transformer.Config(V, 12, 2, 3, 24, 40, 0)));
        long[] source = tokens(14);
        long[] target = tokens(10);
        long[] next = {4, 1, 0, 7, 2, 18, 5, 2, -1, -1};
        int[] lengths = {7, 4};
        Tensor s = Tensor.of(source, 2, 7);
        Tensor n = Tensor.of(lengths, 2);
        Tensor t = Tensor.of(target, 2, 5);
        conforms(model, model.forward(s, n, t).keep(),
                peer -> peer.transformer(LibTorchModels.longs(source, 2, 7), lengths, LibTorchModels.longs(target, 2, 5), 2, 3),
                model.loss(s, n, t, Tensor.of(next, 2, 5)), logits -> LibTorchModels.smoothedLoss(logits, next));
    }

    @ParameterizedTest
    @ValueSource(strings = {"tanh", "relu", "lstm", "gru"})
    void recurrent(String kind) {
        Init.seed(6);
        RecurrentLayer model = switch (kind) {
            case "lstm" -> new Lstm(5, 7, 2, true, 0);
            case "gru" -> new Gru(5, 7, 2, true, 0);
            default -> new Rnn(5, 7, 2, true, 0, kind.equals("relu"));
        };
        double[] x = factors(18 * 6 * 5);
        conforms(model, model.forward(Tensor.of(x, 18, 6, 5).to(DType.F32)).keep(), peer -> peer.recurrent(kind, LibTorchModels.doubles(x, 18, 6, 5), 7),
                null, null);
    }
}
