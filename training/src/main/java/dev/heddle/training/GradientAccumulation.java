// One step from several batches, for batches that do not fit into memory at once.
package dev.heddle.training;

import dev.heddle.engine.Device;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Adds up the gradients of micro-batches, in {@code F32} or wider: {@code sum.add(loss.backward())} for each, then
 * {@code optimizer.step(sum.mean())}. Each {@link #add} computes, so that memory holds one micro-batch and the sums.
 */
public final class GradientAccumulation {
    private final Map<Variable, Variable> sums = new LinkedHashMap<>();
    private final Set<Variable> present = new LinkedHashSet<>(); // variables with a gradient since the last mean
    private Variable loss; // mean of the losses since then
    private double weight; // of all of them

    /** Nothing added. */
    public GradientAccumulation() {}

    /** Adds the gradients of a mean over a micro-batch that counts as much as any other; computes them and the loss. */
    public void add(Gradients gradients) {
        add(gradients, 1);
    }

    /**
     * The same for micro-batches of different sizes.
     *
     * @param weight how much the micro-batch counts, for example its number of samples; positive
     */
    public void add(Gradients gradients, double weight) {
        if (!(weight > 0 && weight < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("gradient accumulation: weight " + weight + " is not positive");
        }
        List<Variable> changed = new ArrayList<>();
        for (Variable variable : gradients.variables()) {
            Tensor gradient = wide(gradients.get(variable));
            gradient = gradient.mul(Tensor.scalar(weight, gradient.dtype()));
            Variable sum = sums.computeIfAbsent(variable, v -> zeros(v.name() + ".gradient", v.device(), gradients.get(v)));
            sum.set(present.add(variable) ? gradient : sum.value().add(gradient));
            changed.add(sum);
        }
        Tensor value = wide(gradients.loss().detach());
        loss = loss != null ? loss : zeros("loss", value.device(), value);
        loss.set(this.weight == 0 ? value
                : loss.value().add(value.sub(loss.value()).mul(Tensor.scalar(weight / (this.weight + weight), value.dtype()))));
        changed.add(loss);
        this.weight += weight;
        Variable.settle(changed);
    }

    private static Tensor wide(Tensor x) {
        return x.to(x.dtype().computeType());
    }

    private static Variable zeros(String name, Device device, Tensor like) {
        Variable[] made = new Variable[1];
        Device.with(device, () -> made[0] = new Variable(name, Tensor.full(0, like.dtype().computeType(), like.shape().dims()), false));
        return made[0];
    }

    /**
     * The mean of all that was added since the last time, weighted; of the losses too. Ready for
     * {@link Optimizer#step}; to be used before the next {@link #add}.
     *
     * @throws IllegalStateException if nothing was added
     */
    public Gradients mean() {
        if (weight == 0) {
            throw new IllegalStateException("gradient accumulation: nothing was added");
        }
        Map<Variable, Tensor> means = new LinkedHashMap<>();
        for (Variable variable : present) {
            Tensor sum = sums.get(variable).value();
            means.put(variable, sum.mul(Tensor.scalar(1 / weight, sum.dtype())));
        }
        present.clear();
        weight = 0;
        return Gradients.of(loss.value(), means);
    }
}
