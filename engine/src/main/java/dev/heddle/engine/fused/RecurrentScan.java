// The part of a recurrent network that has to go step by step.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * {@code (W x + b (B, T, G H), U (G H, H), d (G H), states (B, H) each, [lengths (B) I64])
 * -> (each state behind every step (B, T, H), what the gradient needs besides (B, T, K H))}, with the {@code G} gates and {@code K}
 * kept values of a {@link RecurrentCell}; a cell that keeps none has no such output. Behind the end of a sequence the states stay.
 */
public record RecurrentScan(RecurrentCell cell, boolean reverse) implements Fused {
    private static final int FIRST_STATE = 3;

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec x = inputs.getFirst();
        if (x.shape().rank() != 3 || !x.dtype().isFloat() || x.shape().dim(1) < 1 || x.shape().dim(2) % cell.gates() != 0) {
            throw new ShapeException(name() + ": needs float (B, T, " + cell.gates() + " H) of at least one step, got " + x);
        }
        long batch = x.shape().dim(0);
        long steps = x.shape().dim(1);
        long gates = x.shape().dim(2);
        long hidden = gates / cell.gates();
        List<Spec> expected = new ArrayList<>(List.of(x, Recurrent.spec(x, gates, hidden), Recurrent.spec(x, gates)));
        List<Spec> outputs = new ArrayList<>();
        for (int s = 0; s < cell.states(); s++) {
            expected.add(Recurrent.spec(x, batch, hidden));
            outputs.add(Recurrent.spec(x, batch, steps, hidden));
        }
        if (hasLengths(inputs.size())) {
            expected.add(new Spec(DType.I64, Shape.of(batch)));
        }
        if (!expected.equals(inputs)) {
            throw new ShapeException(name() + ": " + inputs + " should be " + expected);
        }
        if (cell.kept() > 0) {
            outputs.add(Recurrent.spec(x, batch, steps, cell.kept() * hidden));
        }
        return outputs;
    }

    /** Whether the last of a number of inputs are lengths. */
    public boolean hasLengths(int inputs) {
        return inputs == FIRST_STATE + cell.states() + 1;
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.getFirst();
        boolean lengths = hasLengths(inputs.size());
        int steps = Math.toIntExact(x.dim(1));
        Elementwise step = new Elementwise(cell.forward(x.dtype(), lengths));
        List<Tensor> state = inputs.subList(FIRST_STATE, FIRST_STATE + cell.states());
        Tensor[][] states = new Tensor[cell.states()][steps];
        Tensor[] kept = new Tensor[steps];
        for (int i = 0; i < steps; i++) {
            int t = time(i, steps);
            List<Tensor> arguments = new ArrayList<>(gates(x.select(1, t), cell.gates())); // (B, H) each
            arguments.addAll(gates(state.getFirst().matmul(inputs.get(1).t()), cell.gates()));
            arguments.addAll(gates(inputs.get(2), cell.gates())); // (H) each
            arguments.addAll(state);
            if (lengths) {
                arguments.add(active(inputs.getLast(), t));
            }
            List<Tensor> outputs = Tensor.recordAll(step, arguments);
            state = outputs.subList(cell.kept(), outputs.size());
            for (int s = 0; s < state.size(); s++) {
                states[s][t] = state.get(s);
            }
            kept[t] = cell.kept() == 0 ? null : Tensor.concat(1, outputs.subList(0, cell.kept()).toArray(Tensor[]::new)); // (B, K H)
        }
        List<Tensor> result = new ArrayList<>();
        for (Tensor[] each : states) {
            result.add(Tensor.stack(1, each)); // (B, T, H)
        }
        if (cell.kept() > 0) {
            result.add(Tensor.stack(1, kept)); // (B, T, K H)
        }
        return result;
    }

    private int time(int step, int steps) {
        return reverse ? steps - 1 - step : step;
    }

    /** {@code (..., n H)} as {@code n} tensors {@code (..., H)}. */
    private static List<Tensor> gates(Tensor x, int n) {
        long[] sizes = new long[n];
        Arrays.fill(sizes, n == 0 ? 0 : x.dim(-1) / n);
        return x.split(-1, sizes);
    }

    /** Which sequences have an element {@code t}, {@code (B, 1) BOOL}. */
    private static Tensor active(Tensor lengths, int t) {
        return lengths.map(n -> n.compare(Expr.Comparison.GT, t)).unsqueeze(1);
    }

    @Override
    public String name() {
        return new Recurrent(cell, reverse).name() + "_scan";
    }

    /**
     * {@code (U, first states, [lengths], the outputs of forward, gradient of the hidden states (B, T, H), of the last states (B, H)
     * each) -> (gradient of W x + b (B, T, G H), that of U h + d if the cell splits them, of the first states)}.
     */
    public record Backward(RecurrentCell cell, boolean reverse) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec h = inputs.get(firstOutput(inputs.size()));
            long gates = inputs.getFirst().shape().dim(0);
            RecurrentScan forward = new RecurrentScan(cell, reverse);
            Spec x = Recurrent.spec(h, h.shape().dim(0), h.shape().dim(1), gates);
            List<Spec> given = new ArrayList<>(List.of(x, inputs.getFirst(), Recurrent.spec(h, gates)));
            given.addAll(inputs.subList(1, firstOutput(inputs.size())));
            List<Spec> expected = new ArrayList<>(forward.infer(given));
            expected.add(h);
            expected.addAll(inputs.subList(1, 1 + cell.states()));
            if (!expected.equals(inputs.subList(firstOutput(inputs.size()), inputs.size()))) {
                throw new ShapeException(name() + ": " + inputs + " should end with " + expected);
            }
            List<Spec> outputs = new ArrayList<>(inputs.subList(1, 1 + cell.states()));
            for (int i = 0; i < (cell.splits() ? 2 : 1); i++) {
                outputs.addFirst(x);
            }
            return outputs;
        }

        /** Where forward's outputs begin among so many inputs. */
        public int firstOutput(int inputs) {
            return inputs - 2 * cell.states() - 1 - (cell.kept() > 0 ? 1 : 0);
        }

        /** Whether lengths are among so many inputs. */
        public boolean hasLengths(int inputs) {
            return firstOutput(inputs) > 1 + cell.states();
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            RecurrentScan forward = new RecurrentScan(cell, reverse);
            int n = inputs.size();
            boolean lengths = hasLengths(n);
            int states = cell.states();
            List<Tensor> first = inputs.subList(1, 1 + states);
            List<Tensor> behind = inputs.subList(firstOutput(n), firstOutput(n) + states); // (B, T, H) each
            Tensor dh = inputs.get(n - states - 1);
            List<Tensor> carried = new ArrayList<>(inputs.subList(n - states, n)); // (B, H) each
            int steps = Math.toIntExact(dh.dim(1));
            int parts = cell.splits() ? 2 : 1;
            Elementwise step = new Elementwise(cell.backward(dh.dtype(), lengths));
            Tensor[][] gradients = new Tensor[parts][steps];
            for (int i = steps - 1; i >= 0; i--) {
                int t = forward.time(i, steps);
                int earlier = forward.time(i - 1, steps);
                List<Tensor> arguments = new ArrayList<>();
                if (cell.kept() > 0) {
                    arguments.addAll(gates(inputs.get(firstOutput(n) + states).select(1, t), cell.kept())); // (B, H) each
                }
                for (int s = 0; s < states; s++) {
                    arguments.add(i == 0 ? first.get(s) : behind.get(s).select(1, earlier));
                }
                behind.forEach(x -> arguments.add(x.select(1, t)));
                arguments.add(dh.select(1, t));
                arguments.addAll(carried);
                if (lengths) {
                    arguments.add(active(inputs.get(1 + states), t));
                }
                List<Tensor> outputs = Tensor.recordAll(step, arguments);
                for (int k = 0; k < parts; k++) {
                    gradients[k][t] = Tensor.concat(1, outputs.subList(k * cell.gates(), (k + 1) * cell.gates()).toArray(Tensor[]::new)); // (B, G H)
                }
                carried = new ArrayList<>(outputs.subList(parts * cell.gates(), outputs.size()));
                carried.set(0, carried.getFirst().add(gradients[parts - 1][t].matmul(inputs.getFirst())));
            }
            List<Tensor> result = new ArrayList<>();
            for (Tensor[] each : gradients) {
                result.add(Tensor.stack(1, each)); // (B, T, G H)
            }
            result.addAll(carried);
            return result;
        }

        @Override
        public String name() {
            return new RecurrentScan(cell, reverse).name() + "_backward";
        }
    }
}
