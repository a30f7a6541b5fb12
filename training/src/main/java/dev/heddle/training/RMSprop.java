// RMSprop.
package dev.heddle.training;

import dev.heddle.engine.Variable;
import dev.heddle.engine.op.Expr;
import java.util.Collection;
import java.util.List;

/**
 * {@code g += decay p; v = alpha v + (1 - alpha) g^2; b = momentum b + g / (sqrt(v) + eps); p -= lr b} (Hinton, lecture 6e of
 * "Neural networks for machine learning", 2012; constants as in PyTorch).
 */
public final class RMSprop extends Optimizer {
    private final double alpha;
    private final double eps;
    private final double momentum;

    private RMSprop(Builder builder) {
        super(builder, builder.momentum == 0 ? List.of("square_average") : List.of("square_average", "momentum"));
        alpha = builder.alpha;
        eps = builder.eps;
        momentum = builder.momentum;
    }

    /** A builder: learning rate 0.01, alpha 0.99, eps 1e-8, no momentum. */
    public static Builder of(Collection<Variable> parameters) {
        return new Builder(parameters);
    }

    @Override
    protected List<Expr> update(Expr p, Expr g, List<Expr> state, List<Expr> numbers, double weightDecay) {
        Expr decayed = weightDecay == 0 ? g : g.add(p.mul(weightDecay));
        Expr v = flush(state.get(0).mul(alpha).add(decayed.mul(decayed).mul(1 - alpha)));
        Expr scaled = decayed.div(v.unary(Expr.UnaryOp.SQRT).add(eps));
        if (momentum == 0) {
            return List.of(p.sub(numbers.getFirst().mul(scaled)), v);
        }
        Expr b = flush(state.get(1).mul(momentum).add(scaled));
        return List.of(p.sub(numbers.getFirst().mul(b)), v, b);
    }

    @Override
    protected double[] numbers(double learningRate, double weightDecay, long step) {
        return new double[] {learningRate};
    }

    /** Options. */
    public static final class Builder extends OptimizerBuilder<Builder> {
        private double alpha = 0.99;
        private double eps = 1e-8;
        private double momentum;

        private Builder(Collection<Variable> parameters) {
            super(parameters, 0.01, 0);
        }

        @Override
        Builder self() {
            return this;
        }

        /** How much of the average of squares is kept in each step, in {@code [0, 1)}. */
        public Builder alpha(double alpha) {
            this.alpha = Optimizer.requireFraction("alpha", alpha);
            return this;
        }

        /** Added to the root. */
        public Builder eps(double eps) {
            this.eps = Optimizer.requireNonNegative("eps", eps);
            return this;
        }

        /** The momentum, in {@code [0, 1)}. */
        public Builder momentum(double momentum) {
            this.momentum = Optimizer.requireFraction("momentum", momentum);
            return this;
        }

        /** The optimizer. */
        public RMSprop build() {
            return new RMSprop(this);
        }
    }
}
