// Recurrent layers against loops written out in doubles, and against themselves.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.testing.NoLeaks;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@NoLeaks
class RecurrentTest {
    private static final int IN = 3;
    private static final int HIDDEN = 4;
    private static final int B = 2;
    private static final int T = 5;

    private static RecurrentLayer layer(String kind, int layers, boolean bidirectional) {
        Init.seed(7);
        return switch (kind) {
            case "lstm" -> new Lstm(IN, HIDDEN, layers, bidirectional, 0);
            case "gru" -> new Gru(IN, HIDDEN, layers, bidirectional, 0);
            case "relu" -> new Rnn(IN, HIDDEN, layers, bidirectional, 0, true);
            default -> new Rnn(IN, HIDDEN, layers, bidirectional, 0, false);
        };
    }

    private static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    /** The hidden states of one sequence, by the formulas. */
    private static double[][] byHand(String kind, Map<String, Variable> p, double[][] x) {
        double[] wi = p.get("weight_ih_l0").value().toDoubleArray();
        double[] wh = p.get("weight_hh_l0").value().toDoubleArray();
        double[] bi = p.get("bias_ih_l0").value().toDoubleArray();
        double[] bh = p.get("bias_hh_l0").value().toDoubleArray();
        double[] h = new double[HIDDEN];
        double[] c = new double[HIDDEN];
        double[][] states = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            int rows = bi.length;
            double[] xs = new double[rows];
            double[] hs = new double[rows];
            for (int r = 0; r < rows; r++) {
                xs[r] = bi[r];
                hs[r] = bh[r];
                for (int k = 0; k < IN; k++) {
                    xs[r] += wi[r * IN + k] * x[t][k];
                }
                for (int k = 0; k < HIDDEN; k++) {
                    hs[r] += wh[r * HIDDEN + k] * h[k];
                }
            }
            double[] next = new double[HIDDEN];
            BiFunction<Integer, Integer, Double> gate = (g, i) -> xs[g * HIDDEN + i] + hs[g * HIDDEN + i];
            for (int i = 0; i < HIDDEN; i++) {
                switch (kind) {
                    case "lstm" -> {
                        c[i] = sigmoid(gate.apply(1, i)) * c[i] + sigmoid(gate.apply(0, i)) * Math.tanh(gate.apply(2, i));
                        next[i] = sigmoid(gate.apply(3, i)) * Math.tanh(c[i]);
                    }
                    case "gru" -> {
                        double r = sigmoid(gate.apply(0, i));
                        double z = sigmoid(gate.apply(1, i));
                        double n = Math.tanh(xs[2 * HIDDEN + i] + r * hs[2 * HIDDEN + i]);
                        next[i] = (1 - z) * n + z * h[i];
                    }
                    case "relu" -> next[i] = Math.max(0, gate.apply(0, i));
                    default -> next[i] = Math.tanh(gate.apply(0, i));
                }
            }
            h = next;
            states[t] = h;
        }
        return states;
    }

    @ParameterizedTest
    @ValueSource(strings = {"lstm", "gru", "tanh", "relu"})
    void agreesWithTheFormulas(String kind) {
        RecurrentLayer layer = layer(kind, 1, false);
        Tensor x = new Generator(1).randn(B, T, IN);
        double[] values = x.toDoubleArray();
        double[] output = layer.forward(x).toDoubleArray();
        for (int b = 0; b < B; b++) {
            double[][] sequence = new double[T][];
            for (int t = 0; t < T; t++) {
                sequence[t] = Arrays.copyOfRange(values, (b * T + t) * IN, (b * T + t + 1) * IN);
            }
            double[][] expected = byHand(kind, layer.state(), sequence);
            for (int t = 0; t < T; t++) {
                assertArrayEquals(expected[t], Arrays.copyOfRange(output, (b * T + t) * HIDDEN, (b * T + t + 1) * HIDDEN), 1e-5, "step " + t);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lstm", "gru", "tanh"})
    void shortSequencesEndWhereTheyEnd(String kind) {
        RecurrentLayer layer = layer(kind, 2, true);
        Tensor x = new Generator(1).randn(B, T, IN);
        RecurrentLayer.Result padded = layer.forward(x, null, Tensor.of(new long[] {3, T}, 2));
        RecurrentLayer.Result alone = layer.forward(x.slice(0, 0, 1).slice(1, 0, 3), null, null);
        RecurrentLayer.Result whole = layer.forward(x.slice(0, 1, 2), null, null);
        assertArrayEquals(alone.output().toDoubleArray(), padded.output().slice(0, 0, 1).slice(1, 0, 3).toDoubleArray(), 1e-6);
        assertEquals(0, padded.output().slice(0, 0, 1).slice(1, 3, T).abs().sum().item());
        assertArrayEquals(whole.output().toDoubleArray(), padded.output().slice(0, 1, 2).toDoubleArray(), 1e-6);
        for (int s = 0; s < alone.states().size(); s++) {
            assertArrayEquals(alone.states().get(s).toDoubleArray(), padded.states().get(s).slice(1, 0, 1).toDoubleArray(), 1e-6);
            assertArrayEquals(new long[] {4, 2, HIDDEN}, padded.states().get(s).shape().dims());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lstm", "gru", "tanh"})
    void aSequenceCanBeCutWhereTheStateIsHandedOn(String kind) {
        RecurrentLayer layer = layer(kind, 2, false);
        Tensor x = new Generator(1).randn(B, T, IN);
        double[] whole = layer.forward(x).toDoubleArray();
        RecurrentLayer.Result first = layer.forward(x.slice(1, 0, 2), null, null);
        RecurrentLayer.Result second = layer.forward(x.slice(1, 2, T), first.states(), null);
        assertArrayEquals(whole, Tensor.concat(1, first.output(), second.output()).toDoubleArray(), 1e-6);
    }

    @Test
    void theOtherDirectionSeesTheFuture() {
        RecurrentLayer both = layer("lstm", 1, true);
        Lstm backward = new Lstm(IN, HIDDEN);
        for (String name : List.of("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")) {
            backward.state().get(name).set(both.state().get(name + "_reverse").value());
        }
        Variable.settle(backward.parameters());
        Tensor x = new Generator(1).randn(B, T, IN);
        double[] expected = backward.forward(x.flip(1)).flip(1).toDoubleArray();
        assertArrayEquals(expected, both.forward(x).slice(2, HIDDEN, 2 * HIDDEN).toDoubleArray(), 1e-6);
    }

    @Test
    void gradientsFlowThroughTime() {
        Lstm layer = new Lstm(IN, HIDDEN);
        Tensor x = new Generator(1).randn(1, T, IN);
        Gradients gradients = layer.forward(x).slice(1, T - 1, T).sum().backward();
        for (Variable p : layer.parameters()) {
            assertTrue(gradients.get(p).abs().max().item() > 0, p.name());
        }
        assertThrows(IllegalArgumentException.class, () -> new Gru(0, 4));
    }
}
