// Softmax cross-entropy from the logits directly: neither probabilities nor wider logits are ever stored.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.Arrays;
import java.util.List;

/**
 * {@code (logits (N, C), labels (N) I64) -> loss (N)}: {@code (1 - s) * -log p[label] + s * mean(-log p)} with
 * {@code p = softmax(logits)} (label smoothing as in Szegedy et al., 2016); 0 where the label is {@code ignoreIndex}. Losses of
 * 16-bit logits are {@code F32}, computed in {@code F32}; others have the dtype of the logits.
 *
 * @param smoothing {@code s}, in {@code [0, 1)}
 */
public record CrossEntropy(long ignoreIndex, double smoothing) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec logits = inputs.get(0);
        Spec labels = inputs.get(1);
        if (logits.shape().rank() != 2 || !logits.dtype().isFloat() || logits.shape().dim(1) == 0
                || !labels.equals(new Spec(DType.I64, Shape.of(logits.shape().dim(0))))) {
            throw new ShapeException("cross_entropy: logits " + logits + " need float (N, C), labels " + labels + " I64 (N)");
        }
        return List.of(new Spec(logits.dtype().computeType(), labels.shape()));
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor x = inputs.get(0);
        DType wide = x.dtype().computeType();
        Tensor ignored = ignored(inputs.get(1)); // (N, 1)
        Tensor place = ignored.where(Tensor.scalar(0L, DType.I64), inputs.get(1).unsqueeze(1));
        Tensor picked = x.gather(1, place).to(wide); // (N, 1), before what goes row by row in one loop
        Tensor max = max(x); // (N, 1)
        Tensor logSum = sum(x, max).log(); // (N, 1)
        Tensor loss = logSum.sub(picked.sub(max.to(wide))); // (N, 1)
        if (smoothing > 0) {
            Tensor mean = Tensor.recordAll(Elementwise.of(shifted(x)), List.of(x, max)).getFirst().mean(true, 1);
            loss = loss.mul(1 - smoothing).add(logSum.sub(mean).mul(smoothing));
        }
        return List.of(ignored.where(Tensor.scalar(0, wide), loss).squeeze(1));
    }

    private Tensor ignored(Tensor labels) {
        return labels.eq(Tensor.scalar(ignoreIndex, DType.I64)).unsqueeze(1);
    }

    private static Tensor max(Tensor x) {
        return x.max(true, 1).detach(); // (N, 1)
    }

    /** The sum of {@code e^(x - max)}, {@code (N, 1)}. */
    private static Tensor sum(Tensor x, Tensor max) {
        return Tensor.recordAll(Elementwise.of(shifted(x).exp()), List.of(x, max)).getFirst().sum(true, 1);
    }

    /** {@code x - max} as an expression, so that it becomes part of what uses it and is not stored for several uses. */
    private static Expr shifted(Tensor x) {
        DType wide = x.dtype().computeType();
        return new Expr.Input(0, x.dtype()).cast(wide).sub(new Expr.Input(1, x.dtype()).cast(wide));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return Arrays.asList(Tensor.recordAll(new Backward(ignoreIndex, smoothing),
                List.of(inputs.get(0), inputs.get(1), gradients.getFirst())).getFirst(), null);
    }

    @Override
    public Fused joined(Fused other) {
        return other.equals(new Backward(ignoreIndex, smoothing)) ? new ForwardBackward(ignoreIndex, smoothing) : null;
    }

    @Override
    public String name() {
        return "cross_entropy";
    }

    /** {@code (logits, labels, dloss (N)) -> (loss (N), dlogits)}: both from one reading, for a {@code dloss} that needs no loss. */
    public record ForwardBackward(long ignoreIndex, double smoothing) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec dlogits = new Backward(ignoreIndex, smoothing).infer(inputs).getFirst();
            return List.of(inputs.get(2), dlogits);
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            return List.of(Tensor.recordAll(new CrossEntropy(ignoreIndex, smoothing), inputs.subList(0, 2)).getFirst(),
                    Tensor.recordAll(new Backward(ignoreIndex, smoothing), inputs).getFirst());
        }

        @Override
        public String name() {
            return "cross_entropy_forward_backward";
        }
    }

    /** {@code (logits, labels, dloss (N)) -> dlogits}: {@code (p - (1 - s) onehot - s / C) dloss}. */
    public record Backward(long ignoreIndex, double smoothing) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            Spec loss = new CrossEntropy(ignoreIndex, smoothing).infer(inputs).getFirst();
            if (!inputs.get(2).equals(loss)) {
                throw new ShapeException("cross_entropy_backward: gradient " + inputs.get(2) + " of a loss " + loss);
            }
            return List.of(inputs.getFirst());
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor x = inputs.get(0);
            DType wide = x.dtype().computeType();
            Tensor ignored = new CrossEntropy(ignoreIndex, smoothing).ignored(inputs.get(1)); // (N, 1)
            Tensor label = inputs.get(1).unsqueeze(1).to(wide); // (N, 1); floats are exact up to 2^24, and go row by row in one loop
            Tensor classes = Tensor.arange(x.dim(1)).to(wide); // (C)
            Tensor max = max(x); // (N, 1)
            Tensor scale = ignored.where(Tensor.scalar(0, wide), inputs.get(2).unsqueeze(1));
            Expr p = shifted(x).exp().div(new Expr.Input(2, wide));
            double elsewhere = smoothing / x.dim(1);
            Expr isLabel = new Expr.Input(3, wide).compare(Expr.Comparison.EQ, new Expr.Input(4, wide));
            Expr target = isLabel.select(p.literal(1 - smoothing + elsewhere), p.literal(elsewhere));
            return Tensor.recordAll(Elementwise.of(p.sub(target).mul(new Expr.Input(5, wide)).cast(x.dtype())),
                    List.of(x, max, sum(x, max), label, classes, scale)); // (N, C)
        }

        @Override
        public String name() {
            return "cross_entropy_backward";
        }
    }
}
