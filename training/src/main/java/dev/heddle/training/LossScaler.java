// Keeps the gradients of F16 models within F16's range.
package dev.heddle.training;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Dynamic loss scaling (Micikevicius et al., "Mixed precision training", 2018): gradients are those of {@code scale * loss}, divided
 * by the scale in {@code F32}. A step with a gradient that is not finite changes nothing but the scale, which halves (to 1 at least);
 * after 2000 good steps in a row it doubles. All of that happens on the device; nothing is read.
 *
 * <pre>{@code
 * var scaler = new LossScaler();
 * var optimizer = AdamW.of(model.parameters()).lossScaler(scaler).build();
 * optimizer.step(scaler.backward(loss));
 * }</pre>
 *
 * <p>The numbers of a step that the host computes, such as Adam's bias correction, count steps that changed nothing too.
 */
public final class LossScaler {
    private static final double START = 65536;
    private static final int GOOD_STEPS = 2000;

    private final Variable scale;
    private final Variable good; // steps in a row since the scale changed
    private final int goodSteps;

    /** A scale of 65536 that doubles after 2000 good steps. */
    public LossScaler() {
        this(START, GOOD_STEPS);
    }

    /**
     * A scale of {@code start}, at least 1, that doubles after so many good steps.
     *
     * @throws IllegalArgumentException if one of them is too small
     */
    public LossScaler(double start, int goodSteps) {
        if (!(start >= 1 && start <= Float.MAX_VALUE) || goodSteps < 1) {
            throw new IllegalArgumentException("loss scaler: scale " + start + ", " + goodSteps + " good steps");
        }
        scale = new Variable("loss_scale", Tensor.scalar(start), false);
        good = new Variable("good_steps", Tensor.scalar(0), false);
        this.goodSteps = goodSteps;
    }

    /** The scale, a scalar. */
    public Tensor scale() {
        return scale.value();
    }

    /** The gradients of a loss, in {@code F32} or wider: computed scaled, then divided by the scale. */
    public Gradients backward(Tensor loss) {
        Tensor wide = loss.to(loss.dtype().computeType()).keep();
        Gradients scaled = wide.mul(scale.value().to(wide.dtype())).backward();
        Tensor inverse = scale.value().reciprocal();
        Map<Variable, Tensor> unscaled = new LinkedHashMap<>();
        for (Variable variable : scaled.variables()) {
            Tensor gradient = scaled.get(variable);
            DType dtype = gradient.dtype().computeType();
            unscaled.put(variable, gradient.to(dtype).mul(inverse.to(dtype)));
        }
        return Gradients.of(wide, unscaled);
    }

    /** Records the next scale; gives what changes. */
    List<Variable> adapt(Tensor finite) {
        Tensor count = good.value().add(1);
        Tensor grown = count.ge(goodSteps);
        Tensor s = scale.value();
        scale.set(finite.where(grown.where(s.mul(2).minimum(Float.MAX_VALUE), s), s.mul(0.5).maximum(1)));
        good.set(finite.and(grown.not()).where(count, Tensor.scalar(0)));
        return List.of(scale, good);
    }

    void to(Device device) {
        scale.to(device);
        good.to(device);
    }

    /** State by name. */
    Map<String, Variable> variables() {
        Map<String, Variable> variables = new LinkedHashMap<>();
        variables.put("loss_scale", scale);
        variables.put("good_steps", good);
        return variables;
    }
}
