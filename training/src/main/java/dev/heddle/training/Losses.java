// The losses people train with, each recorded from tensor operations so that its gradient follows by itself.
package dev.heddle.training;

import dev.heddle.engine.DType;
import dev.heddle.engine.Functional;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;

/**
 * Loss functions, with PyTorch's definitions. All return a scalar of the prediction's dtype, {@code F32} for one of 16 bits, whose
 * loss is computed in {@code F32} too: the mean over what is averaged; call {@link Tensor#backward()} on it. Predictions are float tensors; shapes that do not fit throw
 * {@link ShapeException}.
 */
public final class Losses {
    /** The label that counts as "no label" unless another is given. */
    public static final long IGNORE_INDEX = -100;

    private static final double COSINE_EPS = 1e-12;
    private static final double DISTANCE_EPS = 1e-6;

    private Losses() {}

    /**
     * Cross-entropy of class labels: the mean of {@code -log softmax(logits)[label]}.
     *
     * @param logits {@code (N, C)}
     * @param labels {@code I64 (N)}, each in {@code [0, C)} or {@link #IGNORE_INDEX}
     */
    public static Tensor crossEntropy(Tensor logits, Tensor labels) {
        return crossEntropy(logits, labels, 0, IGNORE_INDEX, null);
    }

    /**
     * Cross-entropy with label smoothing (Szegedy et al., 2016), a label to ignore and class weights:
     * {@code sum_n [(1 - s) w[y_n] (-log p_n[y_n]) + s/C sum_c w[c] (-log p_n[c])] / sum_n w[y_n]} over the rows whose
     * label is not ignored. NaN if there is no such row, as in PyTorch.
     *
     * @param logits {@code (N, C)}
     * @param labels {@code I64 (N)}, each in {@code [0, C)} or {@code ignoreIndex}
     * @param smoothing {@code s}, in {@code [0, 1)}
     * @param weights {@code (C)} floats, or null for ones
     */
    public static Tensor crossEntropy(Tensor logits, Tensor labels, double smoothing, long ignoreIndex, Tensor weights) {
        if (!(smoothing >= 0 && smoothing < 1)) {
            throw new IllegalArgumentException("cross_entropy: smoothing " + smoothing + " is not in [0, 1)");
        }
        if (weights == null) {
            return meanOfLabelled(Functional.crossEntropy(logits, labels, ignoreIndex, smoothing), labels, ignoreIndex);
        }
        requireShape("cross_entropy", weights, logits.dim(-1));
        Tensor rows = Functional.crossEntropy(logits, labels, ignoreIndex, 0); // (N)
        Tensor scale = weightOfLabel(weights, labels, ignoreIndex); // (N)
        Tensor loss = rows.mul(scale);
        if (smoothing > 0) {
            Tensor uniform = Functional.logSoftmax(wide(logits), 1).mul(weights).mean(1).neg(); // (N)
            Tensor ignored = labels.eq(Tensor.scalar(ignoreIndex, DType.I64));
            loss = loss.mul(1 - smoothing).add(ignored.where(zero(uniform), uniform).mul(smoothing));
        }
        return loss.sum().div(scale.sum());
    }

    /**
     * Negative log-likelihood: the mean of {@code -logProbabilities[label]} over the rows whose label is not
     * {@link #IGNORE_INDEX}.
     *
     * @param logProbabilities {@code (N, C)}, for example of {@link Functional#logSoftmax}
     * @param labels {@code I64 (N)}
     */
    public static Tensor nll(Tensor logProbabilities, Tensor labels) {
        if (logProbabilities.rank() != 2) {
            throw new ShapeException("nll: log-probabilities " + logProbabilities.shape() + " are not (N, C)");
        }
        requireShape("nll", labels, logProbabilities.dim(0));
        Tensor ignored = labels.eq(Tensor.scalar(IGNORE_INDEX, labels.dtype()));
        Tensor place = ignored.where(Tensor.scalar(0L, labels.dtype()), labels).unsqueeze(1); // (N, 1)
        Tensor rows = wide(logProbabilities.gather(1, place)).squeeze(1).neg(); // (N)
        return meanOfLabelled(ignored.where(zero(rows), rows), labels, IGNORE_INDEX);
    }

    /** Mean squared error: the mean of {@code (prediction - target)^2}; two tensors of one shape. */
    public static Tensor mse(Tensor prediction, Tensor target) {
        return difference("mse", prediction, target).square().mean();
    }

    /** Mean absolute error: the mean of {@code |prediction - target|}; two tensors of one shape. */
    public static Tensor l1(Tensor prediction, Tensor target) {
        return difference("l1", prediction, target).abs().mean();
    }

    /**
     * Huber's loss (Huber, 1964): the mean of {@code d^2 / 2} where {@code |d| <= delta} and
     * {@code delta (|d| - delta / 2)} elsewhere, {@code d = prediction - target}; two tensors of one shape.
     *
     * @param delta where the parabola turns into a line, above 0
     */
    public static Tensor huber(Tensor prediction, Tensor target, double delta) {
        if (!(delta > 0)) {
            throw new IllegalArgumentException("huber: delta " + delta + " is not positive");
        }
        Tensor d = difference("huber", prediction, target);
        Tensor size = d.abs();
        return size.le(delta).where(d.square().mul(0.5), size.sub(delta / 2).mul(delta)).mean();
    }

    /** {@link #bceWithLogits(Tensor, Tensor, Tensor)} without weights. */
    public static Tensor bceWithLogits(Tensor logits, Tensor target) {
        return bceWithLogits(logits, target, null);
    }

    /**
     * Binary cross-entropy of logits: the mean of {@code -[w y log s(x) + (1 - y) log(1 - s(x))]} with the sigmoid
     * {@code s}, computed as {@code (1 - y) x + (1 + (w - 1) y) (max(-x, 0) + log(1 + e^-|x|))}, which neither overflows
     * nor cancels.
     *
     * @param target probabilities in {@code [0, 1]}, of the shape of the logits
     * @param positiveWeight {@code w}, broadcast against the target, or null for 1
     */
    public static Tensor bceWithLogits(Tensor logits, Tensor target, Tensor positiveWeight) {
        requireSameShape("bce_with_logits", logits, target);
        Tensor x = wide(logits);
        Tensor y = target.to(x.dtype());
        Tensor softplus = x.neg().maximum(0).add(x.abs().neg().exp().log1p()); // of -x
        if (positiveWeight != null) {
            softplus = softplus.mul(y.mul(positiveWeight.sub(1)).add(1));
        }
        return y.neg().add(1).mul(x).add(softplus).mean();
    }

    /**
     * Kullback-Leibler divergence of predicted from target distributions, {@code sum y (log y - input) / N}: "batchmean"
     * in PyTorch. Terms with {@code y = 0} are 0.
     *
     * @param logProbabilities the prediction, log-probabilities {@code (N, ...)}
     * @param target probabilities of the same shape
     */
    public static Tensor kl(Tensor logProbabilities, Tensor target) {
        requireSameShape("kl", logProbabilities, target);
        if (target.rank() == 0) {
            throw new ShapeException("kl: inputs need a batch axis, got scalars");
        }
        Tensor y = wide(target);
        Tensor positive = y.gt(0).where(y, Tensor.scalar(1, y.dtype())); // keeps log 0 out of the gradient
        return y.mul(positive.log().sub(wide(logProbabilities))).sum().div(y.dim(0));
    }

    /**
     * Cosine embedding loss: the mean of {@code 1 - cos(a, b)} for pairs that belong together ({@code y = 1}) and of
     * {@code max(0, cos(a, b) - margin)} for those that do not ({@code y = -1}), {@code cos} with
     * {@code 1e-12} added to both squared norms.
     *
     * @param a {@code (N, D)}
     * @param b {@code (N, D)}
     * @param y {@code (N)}, of 1 and -1
     * @param margin in {@code [-1, 1]}
     */
    public static Tensor cosineEmbedding(Tensor a, Tensor b, Tensor y, double margin) {
        requireSameShape("cosine_embedding", a, b);
        requireShape("cosine_embedding", y, a.dim(0));
        Tensor u = wide(a);
        Tensor v = wide(b);
        Tensor norms = u.square().sum(-1).add(COSINE_EPS).mul(v.square().sum(-1).add(COSINE_EPS)).sqrt(); // (N)
        Tensor cosine = u.mul(v).sum(-1).div(norms); // (N)
        return y.gt(0).where(cosine.neg().add(1), cosine.sub(margin).maximum(0)).mean();
    }

    /**
     * Triplet margin loss (Balntas et al., 2016): the mean of {@code max(0, |a - p| - |a - n| + margin)} with Euclidean
     * distances, {@code 1e-6} added to every difference of coordinates as in PyTorch.
     *
     * @param anchor {@code (N, D)}
     * @param positive {@code (N, D)}
     * @param negative {@code (N, D)}
     */
    public static Tensor triplet(Tensor anchor, Tensor positive, Tensor negative, double margin) {
        Tensor near = distance(difference("triplet", anchor, positive)); // (N)
        Tensor far = distance(difference("triplet", anchor, negative)); // (N)
        return near.sub(far).add(margin).maximum(0).mean();
    }

    private static Tensor distance(Tensor difference) {
        return difference.add(DISTANCE_EPS).square().sum(-1).sqrt();
    }

    private static Tensor meanOfLabelled(Tensor rows, Tensor labels, long ignoreIndex) {
        Tensor counted = labels.ne(Tensor.scalar(ignoreIndex, labels.dtype())).to(rows.dtype()); // (N)
        return rows.sum().div(counted.sum());
    }

    private static Tensor weightOfLabel(Tensor weights, Tensor labels, long ignoreIndex) {
        Tensor ignored = labels.eq(Tensor.scalar(ignoreIndex, DType.I64)); // (N)
        Tensor place = ignored.where(Tensor.scalar(0L, DType.I64), labels);
        return ignored.where(zero(weights), weights.indexSelect(0, place));
    }

    private static Tensor zero(Tensor like) {
        return Tensor.scalar(0, like.dtype());
    }

    private static Tensor difference(String name, Tensor prediction, Tensor target) {
        requireSameShape(name, prediction, target);
        return wide(prediction).sub(wide(target));
    }

    private static Tensor wide(Tensor x) {
        return x.to(x.dtype().computeType());
    }

    private static void requireSameShape(String name, Tensor a, Tensor b) {
        if (!a.shape().equals(b.shape())) {
            throw new ShapeException(name + ": shapes " + a.shape() + " and " + b.shape() + " differ");
        }
    }

    private static void requireShape(String name, Tensor x, long extent) {
        if (x.rank() != 1 || x.dim(0) != extent) {
            throw new ShapeException(name + ": expected shape (" + extent + "), got " + x.shape());
        }
    }
}
