// Attention whose matrix of scores is never stored where there is a kernel for it.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code (q (B, H, T, D), k (B, G, S, D), v (B, G, S, D)) -> (out (B, H, T, D), lse (B, H, T))}:
 * {@code out = dropout(softmax(scale q k^T + bias)) v} (Vaswani et al., 2017) and the logarithm of the softmax's denominator.
 * {@code H} is a multiple of {@code G}: so many heads share a key head (Ainslie et al., 2023). Further inputs, in this order, each
 * only if there is one:
 * <ul>
 * <li>lengths, {@code I32 (B)}: how many of the keys count;
 * <li>a bias of rank 4 that broadcasts to {@code (B, H, T, S)}, of the dtype of {@code q}; where it is {@link #HIDDEN} or less,
 * negative infinity too, a query does not see a key;
 * <li>seed and offset of the {@link Random} numbers {@code (B, H, T, S)} of the dropout.
 * </ul>
 * A query that sees no key has {@code out = 0} and {@code lse = -infinity}.
 *
 * <p>Scores and softmax are in {@code F32}, or {@code F64} for that dtype; so is {@code lse}.
 *
 * @param scale positive, usually {@code 1 / sqrt(D)}
 * @param causal whether query {@code i} sees no key behind {@code i}, counted from the start of both, as PyTorch's {@code is_causal}
 * @param biased whether there is a bias
 * @param dropout the probability, in {@code [0, 1)}, that a query misses a key that it sees
 */
public record ScaledDotProductAttention(double scale, boolean causal, boolean biased, double dropout) implements Fused {
    /** A bias so low hides a key. */
    public static final double HIDDEN = -1e29;
    /** A score that no query sees: far below any real one, and finite, so that checks for infinities pass. */
    private static final double UNSEEN = -1e30;

    /** Checks the numbers. */
    public ScaledDotProductAttention {
        if (!(scale > 0 && scale < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("scaled_dot_product_attention: scale " + scale + " is not positive");
        }
        if (!(dropout >= 0 && dropout < 1)) {
            throw new IllegalArgumentException("scaled_dot_product_attention: dropout " + dropout + " is not in [0, 1)");
        }
    }

    /** Without bias and dropout. */
    public ScaledDotProductAttention(double scale, boolean causal) {
        this(scale, causal, false, 0);
    }

    /** The inputs that there need not be; null, or empty, where there are none. */
    private record Options(Tensor lengths, Tensor bias, List<Tensor> place) {}

    private Options options(List<Tensor> rest) {
        int end = rest.size() - (dropout > 0 ? 2 : 0);
        int lengths = end - (biased ? 1 : 0);
        return new Options(lengths > 0 ? rest.getFirst() : null, biased ? rest.get(lengths) : null, rest.subList(end, rest.size()));
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec q = inputs.get(0);
        Spec k = inputs.get(1);
        Spec v = inputs.get(2);
        boolean fit = q.dtype().isFloat() && q.dtype() == k.dtype() && k.equals(v) && q.shape().rank() == 4 && k.shape().rank() == 4;
        fit = fit && q.shape().dim(0) == k.shape().dim(0) && q.shape().dim(3) == k.shape().dim(3) && k.shape().dim(1) > 0
                && q.shape().dim(1) % k.shape().dim(1) == 0;
        if (!fit) {
            throw new ShapeException(name() + ": queries " + q + ", keys " + k + ", values " + v
                    + " are not float (B, H, T, D), (B, G, S, D) and the same, H a multiple of G");
        }
        int end = inputs.size() - (dropout > 0 ? 2 : 0);
        int lengths = end - (biased ? 1 : 0);
        if (lengths > 3 && !inputs.get(3).equals(new Spec(DType.I32, Shape.of(q.shape().dim(0))))) {
            throw new ShapeException(name() + ": lengths " + inputs.get(3) + " of the keys of " + q.shape().dim(0) + " sequences");
        }
        Shape scores = Shape.of(q.shape().dim(0), q.shape().dim(1), q.shape().dim(2), k.shape().dim(2));
        if (biased && !(inputs.get(lengths).dtype() == q.dtype() && broadcasts(inputs.get(lengths).shape(), scores))) {
            throw new ShapeException(name() + ": bias " + inputs.get(lengths) + " for scores " + new Spec(q.dtype(), scores));
        }
        Spec number = new Spec(DType.I64, Shape.SCALAR);
        if (lengths > 4 || lengths < 3 || !inputs.subList(end, inputs.size()).stream().allMatch(number::equals)) {
            throw new ShapeException(name() + ": inputs " + inputs + " do not fit " + this);
        }
        return List.of(q, new Spec(accumulated(q.dtype()), Shape.of(q.shape().dim(0), q.shape().dim(1), q.shape().dim(2))));
    }

    private static boolean broadcasts(Shape shape, Shape to) {
        boolean fits = shape.rank() == to.rank();
        for (int i = 0; fits && i < to.rank(); i++) {
            fits = shape.dim(i) == to.dim(i) || shape.dim(i) == 1;
        }
        return fits;
    }

    private static DType accumulated(DType dtype) {
        return dtype == DType.F64 ? DType.F64 : DType.F32;
    }

    /** Floats as others, and the rest as it is. */
    private static List<Tensor> floatsTo(DType dtype, List<Tensor> inputs) {
        return inputs.stream().map(x -> x.dtype().isFloat() ? x.to(dtype) : x).toList();
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor q = inputs.get(0);
        DType accumulated = accumulated(q.dtype());
        if (q.dtype() != accumulated) { // there may be a kernel for that
            List<Tensor> wide = Tensor.recordAll(this, floatsTo(accumulated, inputs));
            return List.of(wide.get(0).to(q.dtype()), wide.get(1));
        }
        Tensor v = inputs.get(2); // (B, G, S, D)
        Options options = options(inputs.subList(3, inputs.size()));
        Tensor seen = seen(q.dim(2), v.dim(2), options);
        Tensor s = scores(q, inputs.get(1), options); // (B, H, T, S)
        if (v.dim(2) == 0) { // no keys at all: sums of nothing
            Tensor lse = Tensor.full(Double.NEGATIVE_INFINITY, accumulated, q.dim(0), q.dim(1), q.dim(2));
            return List.of(byHead(byKeyHead(s, v.dim(1)).matmul(v), q.dim(1)), lse);
        }
        Tensor max = unlessUnseen(seen, s).max(true, -1).detach(); // (B, H, T, 1)
        Tensor p = unlessUnseen(seen, s.sub(max)).exp(); // (B, H, T, S)
        Tensor sum = p.sum(true, -1); // (B, H, T, 1)
        boolean maybeNone = options.lengths != null || biased; // otherwise a query sees the first key at least
        Tensor none = maybeNone ? sum.eq(0) : null;
        if (maybeNone) {
            sum = none.where(Tensor.scalar(1, accumulated), sum);
        }
        Tensor lse = max.add(sum.log());
        if (maybeNone) {
            lse = none.where(Tensor.scalar(Double.NEGATIVE_INFINITY, accumulated), lse);
        }
        Tensor out = byHead(byKeyHead(dropped(p, options), v.dim(1)).matmul(v), q.dim(1)).div(sum); // (B, H, T, D)
        return List.of(out, lse.squeeze(3));
    }

    /** {@code scale q k^T + bias}, {@code (B, H, T, S)}. */
    private Tensor scores(Tensor q, Tensor k, Options options) {
        Tensor s = product(q, k).mul(scale);
        return biased ? s.add(options.bias) : s;
    }

    /** {@code (B, H, T, D) x (B, G, S, D) -> (B, H, T, S)}. */
    private static Tensor product(Tensor a, Tensor b) {
        return byHead(byKeyHead(a, b.dim(1)).matmul(b.transpose(2, 3)), a.dim(1));
    }

    /** {@code (B, H, T, X) -> (B, G, H/G T, X)}: heads with the same keys stand below each other. */
    private static Tensor byKeyHead(Tensor x, long keyHeads) {
        return x.reshape(x.dim(0), keyHeads, x.dim(1) / keyHeads * x.dim(2), x.dim(3));
    }

    /** {@code (B, G, H/G T, X) -> (B, H, T, X)}. */
    private static Tensor byHead(Tensor x, long heads) {
        return x.reshape(x.dim(0), heads, x.dim(1) * x.dim(2) / Math.max(1, heads), x.dim(3));
    }

    /** Which query sees which key, {@code (B or 1, H or 1, T or 1, S or 1)}; null if each sees all. */
    private Tensor seen(long queries, long keys, Options options) {
        Tensor key = Tensor.arange(keys); // (S)
        Tensor seen = causal ? Tensor.arange(queries).unsqueeze(1).ge(key) : null; // (T, S)
        if (options.lengths != null) {
            Tensor counts = options.lengths.to(DType.I64).reshape(options.lengths.dim(0), 1, 1, 1).gt(key); // (B, 1, 1, S)
            seen = seen == null ? counts : counts.and(seen);
        }
        if (biased) {
            Tensor open = options.bias.le(HIDDEN).not();
            seen = seen == null ? open : open.and(seen);
        }
        return seen;
    }

    private static Tensor unlessUnseen(Tensor seen, Tensor x) {
        return seen == null ? x : seen.where(x, Tensor.scalar(UNSEEN, x.dtype()));
    }

    /** {@code x (B, H, T, S)} without what dropout takes away. */
    private Tensor dropped(Tensor x, Options options) {
        if (dropout == 0) {
            return x;
        }
        Tensor kept = Tensor.recordAll(new Random(Random.Distribution.UNIFORM, DType.F32, x.shape()), options.place).getFirst().ge(dropout);
        return kept.where(x.mul(1 / (1 - dropout)), Tensor.scalar(0, x.dtype()));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        if (gradients.get(0) == null || gradients.get(1) != null) {
            return Fused.super.gradient(inputs, outputs, gradients);
        }
        List<Tensor> operands = new ArrayList<>(inputs.subList(0, 3));
        operands.addAll(outputs);
        operands.add(gradients.get(0));
        operands.addAll(inputs.subList(3, inputs.size()));
        List<Tensor> flows = new ArrayList<>(Tensor.recordAll(new Backward(this, false), operands));
        for (Tensor option : inputs.subList(3, inputs.size())) {
            flows.add(option.dtype().isFloat() ? Tensor.recordAll(new Backward(this, true), operands).getFirst() : null);
        }
        return flows;
    }

    @Override
    public String name() {
        return "scaled_dot_product_attention";
    }

    /**
     * {@code (q, k, v, out, lse, dout) -> (dq, dk, dv)} or {@code -> dbias}; more inputs behind these as for {@code forward}. With
     * {@code p = e^(s - lse)}, {@code delta} the sum of {@code dout out} over the head dimension, and
     * {@code ds = p (dropout(dout v^T) - delta)}: {@code dv = dropout(p)^T dout}, {@code dq = scale ds k}, {@code dk = scale ds^T q}
     * (Dao, 2023), and {@code dbias} the sum of {@code ds} along the axes where the bias is one number.
     *
     * @param ofBias whether {@code dbias} is wanted and not the others
     */
    public record Backward(ScaledDotProductAttention forward, boolean ofBias) implements Fused {
        private static final int OPTIONS = 6;

        @Override
        public List<Spec> infer(List<Spec> inputs) {
            int bias = inputs.size() - (forward.dropout > 0 ? 3 : 1);
            return ofBias ? inputs.subList(bias, bias + 1) : inputs.subList(0, 3);
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor q = inputs.get(0); // (B, H, T, D)
            DType accumulated = accumulated(q.dtype());
            if (q.dtype() != accumulated) {
                return floatsTo(q.dtype(), Tensor.recordAll(this, floatsTo(accumulated, inputs)));
            }
            Tensor k = inputs.get(1); // (B, G, S, D)
            Tensor v = inputs.get(2);
            Tensor out = inputs.get(3); // (B, H, T, D)
            Tensor dout = inputs.get(5);
            long heads = q.dim(1);
            long keyHeads = k.dim(1);
            Options options = forward.options(inputs.subList(OPTIONS, inputs.size()));
            Tensor seen = forward.seen(q.dim(2), k.dim(2), options);
            Tensor p = unlessUnseen(seen, forward.scores(q, k, options).sub(inputs.get(4).unsqueeze(3))).exp(); // (B, H, T, S)
            Tensor delta = dout.mul(out).sum(true, -1); // (B, H, T, 1)
            Tensor ds = p.mul(forward.dropped(product(dout, v), options).sub(delta)); // (B, H, T, S)
            if (ofBias) {
                return List.of(sumTo(options.bias.shape(), ds));
            }
            ds = byKeyHead(ds.mul(forward.scale), keyHeads); // (B, G, H/G T, S)
            Tensor dq = byHead(ds.matmul(k), heads); // (B, H, T, D)
            Tensor dk = ds.transpose(2, 3).matmul(byKeyHead(q, keyHeads)); // (B, G, S, D)
            Tensor dv = byKeyHead(forward.dropped(p, options), keyHeads).transpose(2, 3).matmul(byKeyHead(dout, keyHeads));
            return List.of(dq, dk, dv);
        }

        private static Tensor sumTo(Shape shape, Tensor x) {
            Tensor sum = x;
            for (int axis = 0; axis < shape.rank(); axis++) {
                sum = shape.dim(axis) == sum.dim(axis) ? sum : sum.sum(true, axis);
            }
            return sum;
        }

        @Override
        public String name() {
            return "scaled_dot_product_attention_backward" + (ofBias ? "_of_bias" : "");
        }
    }
}
