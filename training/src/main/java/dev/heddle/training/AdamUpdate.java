// What Adam and AdamW share.
package dev.heddle.training;

import dev.heddle.engine.Variable;
import dev.heddle.engine.op.Expr;
import java.util.Collection;
import java.util.List;

/** Adam's update; see {@link Adam} and {@link AdamW}. */
abstract class AdamUpdate extends Optimizer {
    private final double beta1;
    private final double beta2;
    private final double eps;
    private final boolean decoupled;

    AdamUpdate(Options<?> options, boolean decoupled) {
        super(options, List.of("exp_avg", "exp_avg_sq"));
        beta1 = options.beta1;
        beta2 = options.beta2;
        eps = options.eps;
        this.decoupled = decoupled;
    }

    @Override
    protected final List<Expr> update(Expr p, Expr g, List<Expr> state, List<Expr> numbers, double weightDecay) {
        Expr stepSize = numbers.get(0);
        Expr rootCorrection = numbers.get(1);
        Expr shrink = numbers.get(2);
        Expr decayed = decoupled || weightDecay == 0 ? g : g.add(p.mul(weightDecay));
        Expr m = flush(state.get(0).mul(beta1).add(decayed.mul(1 - beta1)));
        Expr v = flush(state.get(1).mul(beta2).add(decayed.mul(decayed).mul(1 - beta2)));
        Expr kept = decoupled && weightDecay > 0 ? p.mul(shrink) : p;
        return List.of(kept.sub(stepSize.mul(m).div(v.unary(Expr.UnaryOp.SQRT).mul(rootCorrection).add(eps))), m, v);
    }

    @Override
    protected final double[] numbers(double learningRate, double weightDecay, long step) {
        return new double[] {learningRate / (1 - Math.pow(beta1, step)), 1 / Math.sqrt(1 - Math.pow(beta2, step)),
            1 - learningRate * weightDecay};
    }

    /** Options of both. */
    abstract static class Options<B extends Options<B>> extends OptimizerBuilder<B> {
        private double beta1 = 0.9;
        private double beta2 = 0.999;
        private double eps = 1e-8;

        Options(Collection<Variable> parameters, double weightDecay) {
            super(parameters, 1e-3, weightDecay);
        }

        /** How much of the averages of gradients and of their squares is kept in each step, both in {@code [0, 1)}. */
        public B betas(double beta1, double beta2) {
            this.beta1 = Optimizer.requireFraction("beta1", beta1);
            this.beta2 = Optimizer.requireFraction("beta2", beta2);
            return self();
        }

        /** Added to the root. */
        public B eps(double eps) {
            this.eps = Optimizer.requireNonNegative("eps", eps);
            return self();
        }
    }
}
