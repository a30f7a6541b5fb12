// Attention whose matrix of scores is never stored where there is a kernel for it.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.List;

/**
 * {@code (q (B, H, T, D), k (B, G, S, D), v (B, G, S, D)) -> (out (B, H, T, D), lse (B, H, T))}:
 * {@code out = softmax(scale q k^T) v} (Vaswani et al., 2017) and the logarithm of the softmax's denominator. {@code H} is a
 * multiple of {@code G}: so many heads share a key head (Ainslie et al., 2023). A fourth input, {@code I32 (B)}, says how many
 * of the keys count; a query that sees none has {@code out = 0} and {@code lse = -infinity}.
 *
 * <p>Scores and softmax are in {@code F32}, or {@code F64} for that dtype; so is {@code lse}.
 *
 * @param scale positive, usually {@code 1 / sqrt(D)}
 * @param causal whether query {@code i} sees no key behind {@code i}, counted from the start of both, as PyTorch's {@code is_causal}
 */
public record ScaledDotProductAttention(double scale, boolean causal) implements Fused {
    /** A score that no query sees: far below any real one, and finite, so that checks for infinities pass. */
    private static final double UNSEEN = -1e30;

    /** Checks the scale. */
    public ScaledDotProductAttention {
        if (!(scale > 0 && scale < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("scaled_dot_product_attention: scale " + scale + " is not positive");
        }
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
        if (inputs.size() > 3 && !inputs.get(3).equals(new Spec(DType.I32, Shape.of(q.shape().dim(0))))) {
            throw new ShapeException(name() + ": lengths " + inputs.get(3) + " of the keys of " + q.shape().dim(0) + " sequences");
        }
        return List.of(q, new Spec(accumulated(q.dtype()), Shape.of(q.shape().dim(0), q.shape().dim(1), q.shape().dim(2))));
    }

    private static DType accumulated(DType dtype) {
        return dtype == DType.F64 ? DType.F64 : DType.F32;
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor q = inputs.get(0);
        DType accumulated = accumulated(q.dtype());
        Tensor v = inputs.get(2).to(accumulated); // (B, G, S, D)
        Tensor lengths = inputs.size() > 3 ? inputs.get(3) : null;
        Tensor seen = seen(q.dim(2), v.dim(2), lengths);
        Tensor s = scores(q, inputs.get(1)); // (B, H, T, S)
        if (v.dim(2) == 0) { // no keys at all: sums of nothing
            Tensor lse = Tensor.full(Double.NEGATIVE_INFINITY, accumulated, q.dim(0), q.dim(1), q.dim(2));
            return List.of(byHead(byKeyHead(s, v.dim(1)).matmul(v), q.dim(1)).to(q.dtype()), lse);
        }
        Tensor max = unlessUnseen(seen, s).max(true, -1).detach(); // (B, H, T, 1)
        Tensor p = unlessUnseen(seen, s.sub(max)).exp(); // (B, H, T, S)
        Tensor sum = p.sum(true, -1); // (B, H, T, 1)
        Tensor none = lengths == null ? null : sum.eq(0); // without lengths, a query sees the first key at least
        if (none != null) {
            sum = none.where(Tensor.scalar(1, accumulated), sum);
        }
        Tensor lse = max.add(sum.log());
        if (none != null) {
            lse = none.where(Tensor.scalar(Double.NEGATIVE_INFINITY, accumulated), lse);
        }
        Tensor out = byHead(byKeyHead(p, v.dim(1)).matmul(v), q.dim(1)).div(sum); // (B, H, T, D)
        return List.of(out.to(q.dtype()), lse.squeeze(3));
    }

    /** {@code scale q k^T}, {@code (B, H, T, S)}. */
    private Tensor scores(Tensor q, Tensor k) {
        DType accumulated = accumulated(q.dtype());
        return product(q.to(accumulated), k.to(accumulated)).mul(scale);
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

    /** Which query sees which key, {@code (B or 1, 1, T or 1, S)}; null if each sees all. */
    private Tensor seen(long queries, long keys, Tensor lengths) {
        Tensor key = Tensor.arange(keys); // (S)
        Tensor seen = causal ? Tensor.arange(queries).unsqueeze(1).ge(key) : null; // (T, S)
        if (lengths == null) {
            return seen;
        }
        Tensor counts = lengths.to(DType.I64).reshape(lengths.dim(0), 1, 1, 1).gt(key); // (B, 1, 1, S)
        return seen == null ? counts : counts.and(seen);
    }

    private static Tensor unlessUnseen(Tensor seen, Tensor x) {
        return seen == null ? x : seen.where(x, Tensor.scalar(UNSEEN, x.dtype()));
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
        List<Tensor> flows = new ArrayList<>(Tensor.recordAll(new Backward(scale, causal), operands));
        if (inputs.size() > 3) {
            flows.add(null); // lengths
        }
        return flows;
    }

    @Override
    public String name() {
        return "scaled_dot_product_attention";
    }

    /**
     * {@code (q, k, v, out, lse, dout) -> (dq, dk, dv)}, with lengths as a seventh input if there are any. With
     * {@code p = e^(s - lse)}, {@code delta} the sum of {@code dout out} over the head dimension, and
     * {@code ds = p (dout v^T - delta)}: {@code dv = p^T dout}, {@code dq = scale ds k}, {@code dk = scale ds^T q} (Dao, 2023).
     */
    public record Backward(double scale, boolean causal) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return inputs.subList(0, 3);
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            ScaledDotProductAttention forward = new ScaledDotProductAttention(scale, causal);
            DType dtype = inputs.get(0).dtype();
            DType accumulated = accumulated(dtype);
            Tensor q = inputs.get(0).to(accumulated); // (B, H, T, D)
            Tensor k = inputs.get(1).to(accumulated); // (B, G, S, D)
            Tensor v = inputs.get(2).to(accumulated);
            Tensor out = inputs.get(3).to(accumulated); // (B, H, T, D)
            Tensor dout = inputs.get(5).to(accumulated);
            long heads = q.dim(1);
            long keyHeads = k.dim(1);
            Tensor seen = forward.seen(q.dim(2), k.dim(2), inputs.size() > 6 ? inputs.get(6) : null);
            Tensor p = unlessUnseen(seen, forward.scores(q, k).sub(inputs.get(4).unsqueeze(3))).exp(); // (B, H, T, S)
            Tensor delta = dout.mul(out).sum(true, -1); // (B, H, T, 1)
            Tensor ds = byKeyHead(p.mul(product(dout, v).sub(delta)).mul(scale), keyHeads); // (B, G, H/G T, S)
            Tensor dq = byHead(ds.matmul(k), heads); // (B, H, T, D)
            Tensor dk = ds.transpose(2, 3).matmul(byKeyHead(q, keyHeads)); // (B, G, S, D)
            Tensor dv = byKeyHead(p, keyHeads).transpose(2, 3).matmul(byKeyHead(dout, keyHeads));
            return List.of(dq.to(dtype), dk.to(dtype), dv.to(dtype));
        }

        @Override
        public String name() {
            return "scaled_dot_product_attention_backward";
        }
    }
}
