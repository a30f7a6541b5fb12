// Softmax cross-entropy in one pass over the logits; probabilities are never stored.
package dev.heddle.engine.fused;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.Arrays;
import java.util.List;

/**
 * {@code (logits (N, C), labels (N) I64) -> loss (N)}: {@code (1 - s) * -log p[label] + s * mean(-log p)} with
 * {@code p = softmax(logits)} (label smoothing as in Szegedy et al., 2016); 0 where the label is {@code ignoreIndex}.
 *
 * @param smoothing {@code s}, in {@code [0, 1)}
 */
public record CrossEntropy(long ignoreIndex, double smoothing) implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Spec logits = inputs.get(0);
        Spec labels = inputs.get(1);
        if (logits.shape().rank() != 2 || !logits.dtype().isFloat()
                || !labels.equals(new Spec(DType.I64, Shape.of(logits.shape().dim(0))))) {
            throw new ShapeException("cross_entropy: logits " + logits + " need float (N, C), labels " + labels + " I64 (N)");
        }
        return List.of(new Spec(logits.dtype(), labels.shape()));
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        Tensor logits = inputs.get(0);
        Tensor labels = inputs.get(1);
        Tensor logp = Tensor.recordAll(new Softmax(true), List.of(logits)).getFirst(); // (N, C)
        Tensor ignored = labels.eq(Tensor.scalar(ignoreIndex, DType.I64)); // (N)
        Tensor place = ignored.where(Tensor.scalar(0L, DType.I64), labels);
        Tensor loss = logp.gather(1, place.unsqueeze(1)).squeeze(1).neg(); // (N)
        if (smoothing > 0) {
            loss = loss.mul(1 - smoothing).sub(logp.mean(1).mul(smoothing));
        }
        return List.of(ignored.where(Tensor.scalar(0, logits.dtype()), loss));
    }

    @Override
    public List<Tensor> gradient(List<Tensor> inputs, List<Tensor> outputs, List<Tensor> gradients) {
        return Arrays.asList(Tensor.recordAll(new Backward(ignoreIndex, smoothing),
                List.of(inputs.get(0), inputs.get(1), gradients.getFirst())).getFirst(), null);
    }

    @Override
    public String name() {
        return "cross_entropy";
    }

    /** {@code (logits, labels, dloss (N)) -> dlogits}: {@code (p - (1 - s) onehot - s / C) dloss}. */
    public record Backward(long ignoreIndex, double smoothing) implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return List.of(inputs.getFirst());
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            Tensor logits = inputs.get(0);
            Tensor labels = inputs.get(1);
            long classes = logits.dim(1);
            Tensor p = Tensor.recordAll(new Softmax(false), List.of(logits)).getFirst(); // (N, C)
            Tensor target = labels.unsqueeze(1).eq(Tensor.arange(classes)).to(logits.dtype()); // (N, C)
            Tensor scale = labels.eq(Tensor.scalar(ignoreIndex, DType.I64))
                    .where(Tensor.scalar(0, logits.dtype()), inputs.get(2)).unsqueeze(1); // (N, 1)
            if (smoothing > 0) {
                target = target.mul(1 - smoothing).add(smoothing / classes);
            }
            return List.of(p.sub(target).mul(scale));
        }

        @Override
        public String name() {
            return "cross_entropy_backward";
        }
    }
}
