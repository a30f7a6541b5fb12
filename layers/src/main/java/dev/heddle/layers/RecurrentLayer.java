// What RNN, LSTM and GRU share: stacking, directions, dropout between layers, sequences of different lengths, states.
package dev.heddle.layers;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.fused.RecurrentCell;
import java.util.ArrayList;
import java.util.List;

/**
 * Sequences {@code (B, T, in)} to {@code (B, T, directions * hidden)}. Parameters have PyTorch's names, shapes and order of
 * gates: {@code weight_ih_l0 (gates * hidden, in)}, {@code weight_hh_l0 (gates * hidden, hidden)}, {@code bias_ih_l0},
 * {@code bias_hh_l0 (gates * hidden)}, with {@code _reverse} behind for the other direction; all uniform in
 * {@code +-1 / sqrt(hidden)} at first.
 */
public abstract class RecurrentLayer extends Layer {
    /**
     * What a run gives.
     *
     * @param output {@code (B, T, directions * hidden)}, of the last layer; 0 behind the end of a sequence
     * @param states the last state of every layer and direction, {@code (layers * directions, B, hidden)}: of an RNN and a GRU the
     *     hidden state, of an LSTM that and the cell state
     */
    public record Result(Tensor output, List<Tensor> states) {}

    private record Direction(Variable input, Variable hidden, Variable inputBias, Variable hiddenBias) {}

    private final RecurrentCell cell;
    private final int hidden;
    private final boolean bidirectional;
    private final Dropout dropout;
    private final List<List<Direction>> layers = new ArrayList<>();

    /**
     * @param in features of an element of a sequence
     * @param dropout in training, of what goes from one layer to the next
     * @throws IllegalArgumentException if a size is not positive
     */
    RecurrentLayer(int in, int hidden, int layers, boolean bidirectional, double dropout, RecurrentCell cell) {
        if (in < 1 || hidden < 1 || layers < 1) {
            throw new IllegalArgumentException("recurrent: " + in + " features, " + hidden + " hidden, " + layers + " layers");
        }
        this.cell = cell;
        this.hidden = hidden;
        this.bidirectional = bidirectional;
        this.dropout = child("dropout", new Dropout(dropout));
        long gates = cell.gates();
        double bound = 1 / Math.sqrt(hidden);
        for (int layer = 0; layer < layers; layer++) {
            int features = layer == 0 ? in : hidden * (bidirectional ? 2 : 1);
            List<Direction> directions = new ArrayList<>();
            for (String suffix : bidirectional ? List.of("_l" + layer, "_l" + layer + "_reverse") : List.of("_l" + layer)) {
                directions.add(new Direction(parameter("weight_ih" + suffix, Init.uniform(-bound, bound, gates * hidden, features)),
                        parameter("weight_hh" + suffix, Init.uniform(-bound, bound, gates * hidden, hidden)),
                        parameter("bias_ih" + suffix, Init.uniform(-bound, bound, gates * hidden)),
                        parameter("bias_hh" + suffix, Init.uniform(-bound, bound, gates * hidden))));
            }
            this.layers.add(directions);
        }
    }

    /** The outputs for sequences that all have the same length, from a state of 0. */
    @Override
    public Tensor forward(Tensor x) {
        return forward(x, null, null).output();
    }

    /**
     * A run.
     *
     * @param x {@code (B, T, in)}
     * @param states to begin with, shaped as {@link Result#states}; null for 0
     * @param lengths {@code (B) I64}, how many elements of each sequence count; null for all
     */
    public Result forward(Tensor x, List<Tensor> states, Tensor lengths) {
        Tensor input = x;
        Tensor zeros = Tensor.full(0, x.dtype(), x.dim(0), hidden);
        List<List<Tensor>> last = new ArrayList<>(); // by layer and direction
        for (int layer = 0; layer < layers.size(); layer++) {
            List<Tensor> outputs = new ArrayList<>();
            for (int d = 0; d < layers.get(layer).size(); d++) {
                List<Tensor> state = new ArrayList<>();
                for (int s = 0; s < cell.states(); s++) {
                    state.add(states == null ? zeros : states.get(s).select(0, last.size()));
                }
                Direction p = layers.get(layer).get(d);
                List<Tensor> run = Functional.recurrent(cell, d == 1, input, p.input.value(), p.hidden.value(), p.inputBias.value(),
                        p.hiddenBias.value(), state, lengths);
                outputs.add(run.getFirst()); // (B, T, hidden)
                last.add(run.subList(1, run.size()));
            }
            input = Tensor.concat(2, outputs.toArray(new Tensor[0])); // (B, T, directions * hidden)
            input = layer + 1 < layers.size() ? dropout.forward(input) : input;
        }
        List<Tensor> result = new ArrayList<>();
        for (int s = 0; s < cell.states(); s++) {
            int which = s;
            result.add(Tensor.stack(0, last.stream().map(state -> state.get(which)).toArray(Tensor[]::new)));
        }
        return new Result(input, result);
    }

    @Override
    public String toString() {
        return getClass().getSimpleName() + "(" + layers.getFirst().getFirst().input.shape().dim(1) + ", " + hidden
                + (layers.size() == 1 ? "" : ", " + layers.size() + " layers") + (bidirectional ? ", bidirectional)" : ")");
    }
}
