// Averages the weights of the last steps: the average often does better than where the last step happened to lead.
package dev.heddle.training;

import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.Layer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * {@code average = decay average + (1 - decay) value} for all float parameters and buffers of a model, in {@code F32} or wider
 * (Polyak and Juditsky, 1992, with exponential weights). Begins as the model is; call {@link #update} after each step.
 */
public final class ExponentialMovingAverage {
    private final double decay;
    private final Map<String, Variable> values = new LinkedHashMap<>();
    private final Map<String, Variable> averages = new LinkedHashMap<>();

    /**
     * The average of a model, whose dtype and device are settled.
     *
     * @param decay in {@code [0, 1)}, for example 0.999: about how many steps count, {@code 1 / (1 - decay)}
     */
    public ExponentialMovingAverage(Layer model, double decay) {
        this.decay = Optimizer.requireFraction("decay of the average", decay);
        model.state().forEach((name, variable) -> {
            if (variable.dtype().isFloat()) {
                values.put(name, variable);
                Device.with(variable.device(),
                        () -> averages.put(name, new Variable(name + ".average", wide(variable), false)));
            }
        });
    }

    private static Tensor wide(Variable variable) {
        return variable.value().to(variable.dtype().computeType());
    }

    /** Moves the averages toward the model. */
    public void update() {
        averages.forEach((name, average) -> {
            Tensor value = wide(values.get(name));
            average.set(average.value().add(value.sub(average.value()).mul(Tensor.scalar(1 - decay, value.dtype()))));
        });
        Variable.settle(averages.values());
    }

    /** Does something, such as validating or saving, while the model has the averages for its values; then gives it back its own. */
    public void with(Runnable work) {
        List<Tensor> own = new ArrayList<>();
        values.values().forEach(value -> own.add(value.value().map(x -> x)));
        Tensor.eval(own.toArray(new Tensor[0]));
        try {
            values.forEach((name, value) -> value.set(averages.get(name).value().to(value.dtype())));
            Variable.settle(values.values());
            work.run();
        } finally {
            int i = 0;
            for (Variable value : values.values()) {
                value.set(own.get(i++));
            }
            Variable.settle(values.values());
            own.forEach(Tensor::close);
        }
    }

    /** The averages, by the names that the values have in the model. */
    public Map<String, Tensor> state() {
        Map<String, Tensor> state = new LinkedHashMap<>();
        averages.forEach((name, average) -> state.put(name, average.value()));
        return state;
    }

    /**
     * Restores what {@link #state} gave.
     *
     * @throws CheckpointException if a tensor is missing, too many, of another shape or dtype; nothing is changed then
     */
    public void restore(Map<String, Tensor> state) {
        CheckpointException.requireSame("average", state(), state, false);
        averages.forEach((name, average) -> average.set(state.get(name)));
        Variable.settle(averages.values());
    }
}
