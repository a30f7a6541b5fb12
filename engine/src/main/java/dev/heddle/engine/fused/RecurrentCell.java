// One step of a recurrent network, defined once, as expressions: the loops of the CPU's kernel and the decomposition use them.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Expr.Comparison;
import java.util.ArrayList;
import java.util.List;

/**
 * What a state becomes. {@code W x + b} are the inputs' part of the gates and {@code U h + d} the hidden state's; gates lie in
 * PyTorch's order, which is also cuDNN's.
 */
public enum RecurrentCell {
    /** {@code h = tanh(W x + b + U h + d)} (Elman, 1990). */
    TANH(1, 0, 1),
    /** {@code h = max(0, W x + b + U h + d)}. */
    RELU(1, 0, 1),
    /**
     * {@code c = f c + i g}, {@code h = o tanh(c)}, with the gates {@code i, f, o} sigmoids and {@code g} the tanh of
     * {@code W x + b + U h + d}, in the order i, f, g, o (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).
     */
    LSTM(4, 4, 2),
    /**
     * {@code h = (1 - z) n + z h} with {@code r, z} sigmoids of {@code W x + b + U h + d} and {@code n = tanh(W x + b + r (U h + d))},
     * in the order r, z, n (Cho et al., 2014, with the reset gate behind the product). Kept for the gradient are r, z, n and the
     * hidden state's part of n.
     */
    GRU(3, 4, 1);

    private final int gates;
    private final int kept;
    private final int states;

    RecurrentCell(int gates, int kept, int states) {
        this.gates = gates;
        this.kept = kept;
        this.states = states;
    }

    /** Blocks of hidden size in a weight. */
    public int gates() {
        return gates;
    }

    /** Values of a step, besides the states, that its gradient needs. */
    public int kept() {
        return kept;
    }

    /** Tensors that make up a state: the hidden one, and of an LSTM the cell's. */
    public int states() {
        return states;
    }

    /** Whether the hidden state's part of a gate has another gradient than the inputs' part. */
    public boolean splits() {
        return this == GRU;
    }

    /** Numbers the inputs of an expression as they are asked for. */
    private static final class Inputs {
        private final DType dtype;
        private int next;

        Inputs(DType dtype) {
            this.dtype = dtype;
        }

        Expr next() {
            return new Expr.Input(next++, dtype);
        }

        Expr[] next(int count) {
            Expr[] inputs = new Expr[count];
            for (int i = 0; i < count; i++) {
                inputs[i] = next();
            }
            return inputs;
        }

        Expr active() {
            return new Expr.Input(next, DType.BOOL);
        }
    }

    /**
     * A step.
     *
     * <p>Inputs: {@code W x + b} of each gate, {@code U h} of each, {@code d} of each, the states, and if {@code lengths}, whether the
     * sequence still goes on ({@code BOOL}); if it does not, the states stay as they are.
     *
     * @return what is kept, then the next states
     */
    public List<Expr> forward(DType dtype, boolean lengths) {
        Inputs in = new Inputs(dtype);
        Expr[] x = in.next(gates);
        Expr[] u = in.next(gates);
        Expr[] d = in.next(gates);
        Expr[] state = in.next(states);
        for (int i = 0; i < gates; i++) {
            u[i] = u[i].add(d[i]);
        }
        List<Expr> outputs = new ArrayList<>(switch (this) {
            case TANH -> List.of(x[0].add(u[0]).tanh());
            case RELU -> List.of(x[0].add(u[0]).max(x[0].literal(0)));
            case LSTM -> {
                Expr i = x[0].add(u[0]).sigmoid();
                Expr f = x[1].add(u[1]).sigmoid();
                Expr g = x[2].add(u[2]).tanh();
                Expr o = x[3].add(u[3]).sigmoid();
                Expr c = f.mul(state[1]).add(i.mul(g));
                yield List.of(i, f, g, o, o.mul(c.tanh()), c);
            }
            case GRU -> {
                Expr r = x[0].add(u[0]).sigmoid();
                Expr z = x[1].add(u[1]).sigmoid();
                Expr n = x[2].add(r.mul(u[2])).tanh();
                yield List.of(r, z, n, u[2], n.add(z.mul(state[0].sub(n))));
            }
        });
        for (int s = 0; lengths && s < states; s++) {
            outputs.set(kept + s, in.active().select(outputs.get(kept + s), state[s]));
        }
        return outputs;
    }

    /**
     * The gradient of a step.
     *
     * <p>Inputs: what was kept, the states before the step, those behind it, the gradient of the hidden state as an output, that of
     * each state from the steps that follow, and if {@code lengths}, whether the sequence still went on.
     *
     * @return the gradients of {@code W x + b} of each gate; those of {@code U h + d} of each if they differ; of each state before the
     *     step, as far as they do not come through {@code U h}
     */
    public List<Expr> backward(DType dtype, boolean lengths) {
        Inputs in = new Inputs(dtype);
        Expr[] k = in.next(kept);
        Expr[] before = in.next(states);
        Expr[] behind = in.next(states);
        Expr dh = in.next();
        Expr[] carried = in.next(states);
        dh = dh.add(carried[0]);
        Expr none = dh.literal(0);
        List<Expr> outputs = new ArrayList<>(switch (this) {
            case TANH -> List.of(dh.mul(tanhSlope(behind[0])), none);
            case RELU -> List.of(behind[0].compare(Comparison.GT, 0).select(dh, none), none);
            case LSTM -> {
                Expr i = k[0];
                Expr f = k[1];
                Expr g = k[2];
                Expr o = k[3];
                Expr tanh = behind[1].tanh();
                Expr dc = carried[1].add(dh.mul(o).mul(tanhSlope(tanh)));
                yield List.of(dc.mul(g).mul(sigmoidSlope(i)), dc.mul(before[1]).mul(sigmoidSlope(f)), dc.mul(i).mul(tanhSlope(g)),
                        dh.mul(tanh).mul(sigmoidSlope(o)), none, dc.mul(f));
            }
            case GRU -> {
                Expr r = k[0];
                Expr z = k[1];
                Expr n = k[2];
                Expr dn = dh.mul(dh.literal(1).sub(z)).mul(tanhSlope(n));
                Expr dr = dn.mul(k[3]).mul(sigmoidSlope(r));
                Expr dz = dh.mul(before[0].sub(n)).mul(sigmoidSlope(z));
                yield List.of(dr, dz, dn, dr, dz, dn.mul(r), dh.mul(z));
            }
        });
        if (lengths) {
            int first = outputs.size() - states;
            for (int i = 0; i < outputs.size(); i++) {
                Expr ended = i < first ? none : i == first ? dh : carried[i - first];
                outputs.set(i, in.active().select(outputs.get(i), ended));
            }
        }
        return outputs;
    }

    /** {@code 1 - y^2}, the derivative of {@code y = tanh(x)}. */
    private static Expr tanhSlope(Expr y) {
        return y.literal(1).sub(y.mul(y));
    }

    /** {@code y (1 - y)}, the derivative of {@code y = sigmoid(x)}. */
    private static Expr sigmoidSlope(Expr y) {
        return y.mul(y.literal(1).sub(y));
    }
}
