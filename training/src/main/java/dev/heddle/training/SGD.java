// Stochastic gradient descent.
package dev.heddle.training;

import dev.heddle.engine.Variable;
import dev.heddle.engine.op.Expr;
import java.util.Collection;
import java.util.List;

/**
 * {@code g += decay p; m = momentum m + g; p -= lr m}, with Nesterov {@code p -= lr (g + momentum m)} (Sutskever et al.,
 * 2013). Without momentum there is no state. As in PyTorch, {@code m} begins as the first gradient.
 */
public final class SGD extends Optimizer {
    private final double momentum;
    private final boolean nesterov;

    private SGD(Builder builder) {
        super(builder, builder.momentum == 0 ? List.of() : List.of("momentum"));
        momentum = builder.momentum;
        nesterov = builder.nesterov;
    }

    /** A builder: learning rate 0.01, no momentum. */
    public static Builder of(Collection<Variable> parameters) {
        return new Builder(parameters);
    }

    @Override
    protected List<Expr> update(Expr p, Expr g, List<Expr> state, List<Expr> numbers, double weightDecay) {
        Expr decayed = weightDecay == 0 ? g : g.add(p.mul(weightDecay));
        Expr lr = numbers.getFirst();
        if (momentum == 0) {
            return List.of(p.sub(lr.mul(decayed)));
        }
        Expr m = flush(state.getFirst().mul(momentum).add(decayed));
        return List.of(p.sub(lr.mul(nesterov ? decayed.add(m.mul(momentum)) : m)), m);
    }

    @Override
    protected double[] numbers(double learningRate, double weightDecay, long step) {
        return new double[] {learningRate};
    }

    /** Options. */
    public static final class Builder extends OptimizerBuilder<Builder> {
        private double momentum;
        private boolean nesterov;

        private Builder(Collection<Variable> parameters) {
            super(parameters, 0.01, 0);
        }

        @Override
        Builder self() {
            return this;
        }

        /** The momentum, in {@code [0, 1)}; by default 0. */
        public Builder momentum(double momentum) {
            this.momentum = Optimizer.requireFraction("momentum", momentum);
            return this;
        }

        /** Whether momentum looks ahead; by default not. */
        public Builder nesterov(boolean nesterov) {
            this.nesterov = nesterov;
            return this;
        }

        /** The optimizer. */
        public SGD build() {
            if (nesterov && momentum == 0) {
                throw new IllegalArgumentException("optimizer: Nesterov needs a momentum above 0");
            }
            return new SGD(this);
        }
    }
}
