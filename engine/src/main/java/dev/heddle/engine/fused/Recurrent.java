// A recurrent network over whole sequences: one direction of one layer.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code (x (B, T, I), W (G H, I), U (G H, H), b (G H), d (G H), states (B, H) each, [lengths (B) I64])
 * -> (y (B, T, H), last states (B, H) each)}, with the {@code G} gates and the states of a {@link RecurrentCell}, and PyTorch's two
 * biases. A sequence of length {@code n} ends behind {@code n} elements: {@code y} is 0 there, and the states stay.
 *
 * <p>It means one product with {@code W} for all steps and a {@link RecurrentScan}. The {@link Backward} records both again
 * rather than taking what the scan has kept as inputs: in a plan that holds forward and backward they are the same values, found
 * by the planner, and computed once. A device whose library keeps what it needs in a form of its own, as cuDNN does, could not
 * give them.
 *
 * @param reverse whether time runs from the last element to the first
 */
public record Recurrent(RecurrentCell cell, boolean reverse) implements Fused {
    private static final int WEIGHTS = 5; // x and the parameters come before the states

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec x = inputs.getFirst();
        if (x.shape().rank() != 3 || !x.dtype().isFloat() || x.shape().dim(1) < 1) {
            throw new ShapeException(name() + ": needs a float input (B, T, I) of at least one step, got " + x);
        }
        long batch = x.shape().dim(0);
        long hidden = inputs.get(2).shape().rank() == 2 ? inputs.get(2).shape().dim(1) : 0;
        long gates = cell.gates() * hidden;
        List<Spec> expected = new ArrayList<>(List.of(x, spec(x, gates, x.shape().dim(2)), spec(x, gates, hidden), spec(x, gates), spec(x, gates)));
        for (int s = 0; s < cell.states(); s++) {
            expected.add(spec(x, batch, hidden));
        }
        if (hasLengths(cell, inputs.size())) {
            expected.add(new Spec(DType.I64, Shape.of(batch)));
        }
        if (!expected.equals(inputs)) {
            throw new ShapeException(name() + ": " + inputs + " should be " + expected);
        }
        List<Spec> outputs = new ArrayList<>(expected.subList(WEIGHTS, WEIGHTS + cell.states()));
        outputs.addFirst(spec(x, batch, x.shape().dim(1), hidden));
        return outputs;
    }

    static Spec spec(Spec like, long... dims) {
        return new Spec(like.dtype(), Shape.of(dims));
    }

    /** Whether the last of a number of inputs are lengths. */
    public static boolean hasLengths(RecurrentCell cell, int inputs) {
        return inputs == WEIGHTS + cell.states() + 1;
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.getFirst();
        List<Tensor> scanned = scan(inputs); // (B, T, H) each
        Tensor y = scanned.getFirst();
        List<Tensor> outputs = new ArrayList<>();
        outputs.add(hasLengths(cell, inputs.size()) ? active(inputs).where(y, Tensor.scalar(0, x.dtype())) : y);
        for (int s = 0; s < cell.states(); s++) {
            outputs.add(scanned.get(s).select(1, reverse ? 0 : -1)); // (B, H)
        }
        return outputs;
    }

    private List<Tensor> scan(List<Tensor> inputs) {
        Tensor b = inputs.get(3);
        Tensor d = inputs.get(4);
        boolean together = !cell.splits(); // adding b where d is added saves a pass over (B, T, G H)
        List<Tensor> scan = new ArrayList<>(List.of(Functional.linear(inputs.get(0), inputs.get(1), together ? null : b), // (B, T, G H)
                inputs.get(2), together ? b.add(d) : d));
        scan.addAll(inputs.subList(WEIGHTS, inputs.size()));
        return Tensor.recordAll(new RecurrentScan(cell, reverse), scan);
    }

    /** Where sequences still go on, {@code (B, T, 1) BOOL}. */
    private static Tensor active(List<Tensor> inputs) {
        return inputs.getLast().unsqueeze(1).gt(Tensor.arange(inputs.getFirst().dim(1))).unsqueeze(2);
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        List<Tensor> given = new ArrayList<>(inputs);
        for (int i = 0; i < outputs.size(); i++) {
            Tensor y = outputs.get(i);
            given.add(gradients.get(i) != null ? gradients.get(i) : Tensor.full(0, y.dtype(), y.shape().dims()));
        }
        return Tensor.recordAll(new Backward(cell, reverse), given);
    }

    @Override
    public String name() {
        return cell.name().toLowerCase(java.util.Locale.ROOT) + (reverse ? "_reverse" : "");
    }

    /** {@code (the inputs of forward, dy, gradients of the last states) -> gradients of x, W, U, b, d and the first states}. */
    public record Backward(RecurrentCell cell, boolean reverse) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            List<Spec> given = inputs.subList(0, inputs.size() - 1 - cell.states());
            List<Spec> gradients = inputs.subList(given.size(), inputs.size());
            List<Spec> expected = new Recurrent(cell, reverse).infer(given);
            if (!expected.equals(gradients)) {
                throw new ShapeException(name() + ": gradients " + gradients + " should be " + expected);
            }
            return given.subList(0, WEIGHTS + cell.states());
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Recurrent forward = new Recurrent(cell, reverse);
            List<Tensor> given = inputs.subList(0, inputs.size() - 1 - cell.states());
            List<Tensor> gradients = inputs.subList(given.size(), inputs.size());
            boolean lengths = hasLengths(cell, given.size());
            Tensor x = given.getFirst();
            Tensor first = given.get(WEIGHTS).unsqueeze(1); // (B, 1, H)
            List<Tensor> scanned = forward.scan(given);
            Tensor h = scanned.getFirst(); // (B, T, H)
            long steps = x.dim(1);

            List<Tensor> scan = new ArrayList<>(List.of(given.get(2)));
            scan.addAll(given.subList(WEIGHTS, given.size()));
            scan.addAll(scanned);
            scan.add(lengths ? active(given).where(gradients.getFirst(), Tensor.scalar(0, x.dtype())) : gradients.getFirst());
            scan.addAll(gradients.subList(1, gradients.size()));
            List<Tensor> back = Tensor.recordAll(new RecurrentScan.Backward(cell, reverse), scan);
            Tensor dx = rows(back.getFirst()); // (B T, G H): of W x + b
            Tensor du = cell.splits() ? rows(back.get(1)) : dx; // of U h + d
            Tensor before = reverse ? Tensor.concat(1, h.slice(1, 1, steps), first) : Tensor.concat(1, first, h.slice(1, 0, steps - 1));

            List<Tensor> result = new ArrayList<>(List.of(dx.matmul(given.get(1)).reshape(x.shape().dims()), // (B, T, I)
                    dx.t().matmul(rows(x)), du.t().matmul(rows(before)), dx.sum(0), du.sum(0)));
            result.addAll(back.subList(back.size() - cell.states(), back.size()));
            return result;
        }

        /** {@code (B, T, N) -> (B T, N)}. */
        private static Tensor rows(Tensor x) {
            return x.reshape(x.dim(0) * x.dim(1), x.dim(2));
        }

        @Override
        public String name() {
            return new Recurrent(cell, reverse).name() + "_backward";
        }
    }
}
