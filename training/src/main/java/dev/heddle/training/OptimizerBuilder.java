// The options that all optimizers have.
package dev.heddle.training;

import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Collects parameters and settings; each optimizer adds its own options. */
public abstract class OptimizerBuilder<B extends OptimizerBuilder<B>> {
    double learningRate;
    double clipNorm;
    double clipValue;
    LossScaler scaler;
    private double weightDecay;
    private final List<Variable> parameters;
    private final List<Settings> further = new ArrayList<>();

    /** Settings of one group of parameters. */
    record Settings(List<Variable> parameters, double learningRate, double weightDecay) {}

    OptimizerBuilder(Collection<Variable> parameters, double learningRate, double weightDecay) {
        this.parameters = List.copyOf(parameters);
        this.learningRate = learningRate;
        this.weightDecay = weightDecay;
    }

    abstract B self();

    /** The learning rate of the first group. */
    public B learningRate(double learningRate) {
        this.learningRate = Optimizer.requireNonNegative("learning rate", learningRate);
        return self();
    }

    /** The weight decay of the first group; what it means is the optimizer's. */
    public B weightDecay(double weightDecay) {
        this.weightDecay = Optimizer.requireNonNegative("weight decay", weightDecay);
        return self();
    }

    /** Adds a group of parameters with its own learning rate and weight decay. */
    public B group(Collection<Variable> parameters, double learningRate, double weightDecay) {
        further.add(new Settings(List.copyOf(parameters), Optimizer.requireNonNegative("learning rate", learningRate),
                Optimizer.requireNonNegative("weight decay", weightDecay)));
        return self();
    }

    /** Scales the gradients of each step down to this norm at most; see {@link GradientClipping#byNorm}. */
    public B clipNorm(double maxNorm) {
        GradientClipping.requirePositive("norm", maxNorm);
        clipNorm = maxNorm;
        return self();
    }

    /** Limits each element of the gradients; see {@link GradientClipping#byValue}. */
    public B clipValue(double limit) {
        GradientClipping.requirePositive("value", limit);
        clipValue = limit;
        return self();
    }

    /** Leaves everything as it was in steps with gradients that are not finite, and tells the scaler, whose gradients they are. */
    public B lossScaler(LossScaler scaler) {
        this.scaler = scaler;
        return self();
    }

    /** The groups, the first one first. */
    List<Settings> settings() {
        List<Settings> all = new ArrayList<>();
        all.add(new Settings(parameters, learningRate, weightDecay));
        all.addAll(further);
        Set<Variable> seen = new HashSet<>();
        for (Settings settings : all) {
            if (learningRate == 0 && settings.learningRate() > 0) {
                throw new IllegalArgumentException("optimizer: the first group's learning rate is 0, which the "
                        + settings.learningRate() + " of another group has no ratio to");
            }
            for (Variable parameter : settings.parameters()) {
                if (!seen.add(parameter)) {
                    throw new IllegalArgumentException("optimizer: parameter " + parameter + " is given twice");
                }
            }
        }
        if (seen.isEmpty()) {
            throw new IllegalArgumentException("optimizer: no parameters");
        }
        return all;
    }
}
