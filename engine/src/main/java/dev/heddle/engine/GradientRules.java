// The gradient of every op family, in one place: from an op to recorded tensors.
package dev.heddle.engine;

import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Source;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Vector-Jacobian products. Each returns one entry an input, null where no gradient flows. */
final class GradientRules {
    private GradientRules() {}

    /**
     * @param inputs of the op, {@code outputs} its results
     * @param gradients for each output, null where none arrives (not for all)
     * @param wanted the inputs whose gradient is needed
     */
    static List<Tensor> of(Op op, List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients, boolean[] wanted) {
        Tensor g = gradients.getFirst();
        return switch (op) {
            case Source source -> Arrays.asList(new Tensor[inputs.size()]);
            case Random random -> Arrays.asList(new Tensor[inputs.size()]);
            case Elementwise elementwise -> elementwise(elementwise, inputs, outputs, gradients, wanted);
            case Reduce reduce -> Arrays.asList(reduce(reduce, inputs.getFirst(), outputs.getFirst(), g));
            case MatMul matmul -> matmul(inputs.get(0), inputs.get(1), g, wanted);
            case Movement movement -> movement(movement, inputs, g);
            case Gather gather -> gather(gather, inputs.get(0), inputs.get(1), g);
            case Scatter scatter -> scatter(scatter, inputs.get(1), g);
            case Convolution convolution -> convolution(convolution, inputs.get(0), inputs.get(1), g, wanted);
            case Pooling pooling -> pooling(pooling, inputs, g);
            case Sort sort -> Arrays.asList(g == null ? null
                    : zerosLike(inputs.getFirst()).scatterAdd(sort.axis(), outputs.get(1), g));
            case Fused fused -> pad(fused.gradient(inputs, outputs, gradients), inputs.size());
        };
    }

    private static List<Tensor> pad(List<Tensor> gradients, int size) {
        List<Tensor> padded = new ArrayList<>(gradients);
        while (padded.size() < size) {
            padded.add(null);
        }
        return padded;
    }

    private static Tensor zerosLike(Tensor x) {
        return Tensor.scalar(0, x.dtype()).expand(x.shape().dims());
    }

    /** Sums away what broadcasting added. */
    static Tensor sumTo(Tensor x, Shape shape) {
        if (x.shape().equals(shape)) {
            return x;
        }
        int lead = x.rank() - shape.rank();
        List<Integer> axes = new ArrayList<>();
        for (int i = 0; i < x.rank(); i++) {
            if (i < lead || shape.dim(i - lead) == 1 && x.dim(i) != 1) {
                axes.add(i);
            }
        }
        return axes.isEmpty() ? x : Tensor.record(new Reduce(Reduce.Kind.SUM, axes, false), List.of(x)).reshape(shape.dims());
    }

    private static List<Tensor> elementwise(Elementwise op, List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients,
            boolean[] wanted) {
        // the expressions of a gradient range over the op's inputs, then gradient and value of each output
        List<Tensor> operands = new ArrayList<>(inputs);
        int n = inputs.size();
        for (int k = 0; k < outputs.size(); k++) {
            operands.add(gradients.get(k));
            operands.add(outputs.get(k));
        }
        Tensor[] flows = new Tensor[n];
        for (int i = 0; i < n; i++) {
            if (!wanted[i]) {
                continue;
            }
            Expr sum = null;
            for (int k = 0; k < outputs.size(); k++) {
                if (gradients.get(k) == null) {
                    continue;
                }
                Expr e = op.outputs().get(k);
                Expr part = Derivative.of(e, new Expr.Input(n + 2 * k + 1, e.dtype()), new Expr.Input(n + 2 * k, e.dtype()), i);
                sum = sum == null ? part : part == null ? sum : sum.add(part);
            }
            if (sum != null) {
                flows[i] = sumTo(broadcast(recordUsing(sum, operands), outputs.getFirst().shape()), inputs.get(i).shape());
            }
        }
        return Arrays.asList(flows);
    }

    /** A gradient that is a smaller operand as it stands still counts once for each element of the output. */
    private static Tensor broadcast(Tensor x, Shape shape) {
        return x.expand(shape.dims());
    }

    /** Records an expression over those operands that it really uses. */
    private static Tensor recordUsing(Expr e, List<Tensor> operands) {
        boolean[] used = new boolean[operands.size()];
        collect(e, used);
        Expr[] renumbered = new Expr[operands.size()];
        List<Tensor> kept = new ArrayList<>();
        for (int i = 0; i < used.length; i++) {
            if (used[i]) {
                renumbered[i] = new Expr.Input(kept.size(), operands.get(i).dtype());
                kept.add(operands.get(i));
            }
        }
        Expr compact = e.substitute(renumbered);
        return compact instanceof Expr.Input ? kept.getFirst() : Tensor.record(Elementwise.of(compact), kept);
    }

    private static void collect(Expr e, boolean[] used) {
        switch (e) {
            case Expr.Input in -> used[in.index()] = true;
            case Expr.Constant c -> { }
            case Expr.Unary u -> collect(u.a(), used);
            case Expr.Binary b -> {
                collect(b.a(), used);
                collect(b.b(), used);
            }
            case Expr.Compare c -> {
                collect(c.a(), used);
                collect(c.b(), used);
            }
            case Expr.Select s -> {
                collect(s.condition(), used);
                collect(s.a(), used);
                collect(s.b(), used);
            }
            case Expr.Cast c -> collect(c.a(), used);
        }
    }

    private static Tensor reduce(Reduce op, Tensor x, Tensor y, Tensor g) {
        long[] kept = op.keptShape(x.shape()).dims();
        Tensor wide = g.reshape(kept);
        return switch (op.kind()) {
            case SUM -> wide.expand(x.shape().dims());
            case MEAN -> wide.mul((double) g.elements() / x.elements()).expand(x.shape().dims());
            case MAX, MIN -> {
                Tensor chosen = x.eq(y.reshape(kept)).to(x.dtype());
                yield chosen.mul(wide.div(Tensor.record(new Reduce(Reduce.Kind.SUM, op.axes(), true), List.of(chosen))));
            }
            case PROD -> {
                // with one zero only its own factor has a gradient, with more none has
                Tensor zero = x.eq(0);
                Tensor zeros = Tensor.record(new Reduce(Reduce.Kind.SUM, op.axes(), true), List.of(zero.to(x.dtype())));
                Tensor ones = Tensor.scalar(1, x.dtype());
                Tensor others = Tensor.record(new Reduce(Reduce.Kind.PROD, op.axes(), true), List.of(zero.where(ones, x)));
                Tensor share = zeros.eq(0).where(y.reshape(kept).div(zero.where(ones, x)),
                        zeros.eq(1).and(zero).where(others, Tensor.scalar(0, x.dtype())));
                yield wide.mul(share);
            }
            case ARGMAX, ARGMIN -> null;
        };
    }

    private static List<Tensor> matmul(Tensor a, Tensor b, Tensor g, boolean[] wanted) {
        return Arrays.asList(wanted[0] ? sumTo(g.matmul(b.t()), a.shape()) : null,
                wanted[1] ? sumTo(a.t().matmul(g), b.shape()) : null);
    }

    private static List<Tensor> movement(Movement op, List<Tensor> inputs, Tensor g) {
        Tensor x = inputs.getFirst();
        return switch (op) {
            case Movement.Reshape reshape -> Arrays.asList(g.reshape(x.shape().dims()));
            case Movement.Permute(List<Integer> order) -> {
                int[] inverse = new int[order.size()];
                for (int i = 0; i < inverse.length; i++) {
                    inverse[order.get(i)] = i;
                }
                yield Arrays.asList(g.permute(inverse));
            }
            case Movement.Expand expand -> Arrays.asList(sumTo(g, x.shape()));
            case Movement.Slice slice -> Arrays.asList(unslice(slice, g, x.shape()));
            case Movement.Pad pad -> {
                List<Long> ones = java.util.Collections.nCopies(x.rank(), 1L);
                List<Long> lengths = Arrays.stream(x.shape().dims()).boxed().toList();
                yield Arrays.asList(Tensor.record(new Movement.Slice(pad.before(), lengths, ones), List.of(g)));
            }
            case Movement.After after -> Arrays.asList(g, null);
            case Movement.Flip flip -> Arrays.asList(Tensor.record(flip, List.of(g)));
            case Movement.Concat(int axis) -> {
                List<Tensor> pieces = new ArrayList<>();
                long start = 0;
                for (Tensor input : inputs) {
                    pieces.add(g.slice(axis, start, start + input.dim(axis)));
                    start += input.dim(axis);
                }
                yield pieces;
            }
        };
    }

    /** Puts the elements of a slice's gradient back in their places, zeros elsewhere. */
    private static Tensor unslice(Movement.Slice slice, Tensor g, Shape shape) {
        Tensor spread = g;
        int rank = shape.rank();
        for (int i = 0; i < rank; i++) { // steps: put step-1 zeros behind each element
            long step = slice.steps().get(i);
            if (step > 1 && spread.dim(i) > 0) {
                long length = spread.dim(i);
                Tensor wide = spread.unsqueeze(i + 1);
                long[] after = new long[rank + 1];
                after[i + 1] = step - 1;
                spread = wide.pad(new long[rank + 1], after, 0).reshape(spread.shape().with(i, length * step).dims());
                spread = spread.slice(i, 0, (length - 1) * step + 1);
            }
        }
        long[] before = new long[rank];
        long[] after = new long[rank];
        for (int i = 0; i < rank; i++) {
            before[i] = slice.starts().get(i);
            after[i] = shape.dim(i) - before[i] - spread.dim(i);
        }
        return spread.pad(before, after, 0);
    }

    private static List<Tensor> gather(Gather op, Tensor x, Tensor index, Tensor g) {
        Tensor zeros = zerosLike(x);
        return Arrays.asList(switch (op) {
            case Gather.Slices(int axis) -> zeros.indexAdd(axis, index, g);
            case Gather.Elements(int axis) -> zeros.scatterAdd(axis, index, g);
        }, null);
    }

    private static List<Tensor> scatter(Scatter op, Tensor index, Tensor g) {
        return Arrays.asList(g, null, switch (op) {
            case Scatter.AddSlices(int axis) -> g.indexSelect(axis, index);
            case Scatter.AddElements(int axis) -> g.gather(axis, index);
        });
    }

    private static List<Tensor> convolution(Convolution op, Tensor a, Tensor b, Tensor g, boolean[] wanted) {
        Convolution.Direction forward = Convolution.Direction.FORWARD;
        Convolution.Direction data = Convolution.Direction.BACKWARD_DATA;
        Convolution.Direction weights = Convolution.Direction.BACKWARD_WEIGHTS;
        return switch (op.direction()) {
            case FORWARD -> Arrays.asList( // (x, w) -> y
                    wanted[0] ? Tensor.record(op.backward(data, a.shape()), List.of(g, b)) : null,
                    wanted[1] ? Tensor.record(op.backward(weights, b.shape()), List.of(a, g)) : null);
            case BACKWARD_DATA -> Arrays.asList( // (dy, w) -> dx
                    wanted[0] ? Tensor.record(op.backward(forward, null), List.of(g, b)) : null,
                    wanted[1] ? Tensor.record(op.backward(weights, b.shape()), List.of(g, a)) : null);
            case BACKWARD_WEIGHTS -> Arrays.asList( // (x, dy) -> dw
                    wanted[0] ? Tensor.record(op.backward(data, a.shape()), List.of(b, g)) : null,
                    wanted[1] ? Tensor.record(op.backward(forward, null), List.of(a, g)) : null);
        };
    }

    private static List<Tensor> pooling(Pooling op, List<Tensor> inputs, Tensor g) {
        Tensor x = inputs.getFirst();
        Pooling backward = op.with(Pooling.Direction.BACKWARD, x.shape());
        if (op.kind() == Pooling.Kind.AVG) {
            return Arrays.asList(op.direction() == Pooling.Direction.FORWARD ? Tensor.record(backward, List.of(g))
                    : Tensor.record(op.with(Pooling.Direction.FORWARD, null), List.of(g)));
        }
        return switch (op.direction()) {
            case FORWARD -> Arrays.asList(Tensor.record(backward, List.of(x, g)));
            case BACKWARD -> Arrays.asList(null, Tensor.record(op.with(Pooling.Direction.GATHER, null), List.of(x, g)));
            case GATHER -> Arrays.asList(null, Tensor.record(backward, List.of(x, g)));
        };
    }
}
