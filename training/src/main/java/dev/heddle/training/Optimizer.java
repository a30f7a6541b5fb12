// What all optimizers share: groups of parameters, their state, and one recorded update a parameter.
package dev.heddle.training;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Updates parameters by their gradients. An optimizer says in {@link #update} how one element of a parameter and of its
 * state changes, as expressions; the same expressions serve every parameter of a group, so that a backend can run the
 * group as one kernel. Numbers that change from step to step ({@link #numbers}) are inputs, not part of the expressions.
 *
 * <p>A parameter that the loss does not depend on, or that is frozen, is left alone, its state and step count too.
 *
 * <p>A 16-bit parameter has a master copy in {@code F32} among its state: that is what is updated, and the parameter is the master
 * rounded (Micikevicius et al., "Mixed precision training", 2018), since most updates are too small to change 16 bits. Where somebody
 * else has changed a parameter, so that it is no longer its master rounded, the master follows it.
 */
public abstract class Optimizer {
    /** Magnitudes of state below this become 0: decaying averages would end in denormal numbers, which are slow. */
    private static final double NEGLIGIBLE = 1e-30;

    private final List<Group> groups = new ArrayList<>();
    private final List<String> stateNames;
    private final double clipNorm;
    private final double clipValue;
    private final LossScaler scaler; // or null
    private double learningRate;

    /**
     * Takes over the settings of a builder; state is created here, all zeros.
     *
     * @param stateNames names of the tensors of state that each parameter has, all of its shape
     */
    protected Optimizer(OptimizerBuilder<?> builder, List<String> stateNames) {
        this.stateNames = List.copyOf(stateNames);
        learningRate = builder.learningRate;
        clipNorm = builder.clipNorm;
        clipValue = builder.clipValue;
        scaler = builder.scaler;
        for (OptimizerBuilder.Settings settings : builder.settings()) {
            double ratio = learningRate == 0 ? 1 : settings.learningRate() / learningRate;
            Group group = new Group(ratio, settings.weightDecay());
            for (Variable parameter : settings.parameters()) {
                group.slots.add(new Slot(parameter, stateNames));
            }
            groups.add(group);
        }
    }

    /**
     * The step for one element, in {@code F32} or wider.
     *
     * @param p the parameter
     * @param g its gradient
     * @param state in the order of the names given to the constructor
     * @param numbers in the order of {@link #numbers}
     * @param weightDecay of the group
     * @return the next parameter, then the next state
     */
    protected abstract List<Expr> update(Expr p, Expr g, List<Expr> state, List<Expr> numbers, double weightDecay);

    /**
     * The numbers that change from step to step.
     *
     * @param step how often the parameter has been updated, this time included: 1 in the first step
     */
    protected abstract double[] numbers(double learningRate, double weightDecay, long step);

    /** {@code x}, or 0 if it is negligible; for averages that decay. */
    protected static Expr flush(Expr x) {
        return x.unary(Expr.UnaryOp.ABS).compare(Expr.Comparison.LT, NEGLIGIBLE).select(x.literal(0), x);
    }

    /** The learning rate of the first group. */
    public double learningRate() {
        return learningRate;
    }

    /** Sets the learning rate of the first group; the other groups keep their ratio to it. */
    public void learningRate(double learningRate) {
        this.learningRate = requireNonNegative("learning rate", learningRate);
    }

    /** Moves the optimizer's state to where the parameters are, after they have been moved. */
    public void followParameters() {
        for (Group group : groups) {
            for (Slot slot : group.slots) {
                slot.variables().values().forEach(variable -> variable.to(slot.parameter.device()));
                if (scaler != null) {
                    scaler.to(slot.parameter.device());
                }
            }
        }
    }

    /** The gradients of a loss as this optimizer wants them: the loss scaler's, if there is one. */
    Gradients backward(Tensor loss) {
        return scaler == null ? loss.backward() : scaler.backward(loss);
    }

    /**
     * Updates the parameters, in place. This is where a training loop computes: the forward and backward pass, the
     * updates, and all recorded results that nobody has read are evaluated together.
     *
     * @throws IllegalArgumentException if none of the optimizer's parameters has a gradient
     * @throws IllegalStateException if a parameter's dtype has changed since the optimizer was built
     */
    public void step(Gradients gradients) {
        Gradients clipped = gradients;
        if (clipValue > 0) {
            clipped = GradientClipping.byValue(clipped, clipValue);
        }
        if (clipNorm > 0) {
            clipped = GradientClipping.byNorm(clipped, clipNorm);
        }
        Set<Variable> withGradient = clipped.variables();
        Tensor finite = scaler == null ? null : GradientClipping.norm(gradients).lt(Double.POSITIVE_INFINITY); // false for NaN
        List<Variable> changed = new ArrayList<>();
        for (Group group : groups) {
            Map<Long, Map<DType, List<Tensor>>> numbers = new LinkedHashMap<>(); // one entry unless some were left alone before
            for (Slot slot : group.slots) {
                if (withGradient.contains(slot.parameter)) {
                    slot.requireSameDtype();
                    slot.steps++;
                    List<Tensor> shared = numbers.computeIfAbsent(slot.steps, step -> new EnumMap<>(DType.class))
                            .computeIfAbsent(slot.dtype.computeType(), dtype -> scalars(group, slot.steps, dtype));
                    update(group, slot, clipped.get(slot.parameter), shared, finite, changed);
                }
            }
        }
        if (changed.isEmpty()) {
            throw new IllegalArgumentException("optimizer: the loss depends on none of its parameters");
        }
        if (scaler != null) {
            changed.addAll(scaler.adapt(finite));
        }
        Variable.settle(changed);
    }

    private List<Tensor> scalars(Group group, long step, DType dtype) {
        List<Tensor> scalars = new ArrayList<>();
        for (double number : numbers(learningRate * group.ratio, group.weightDecay, step)) {
            scalars.add(Tensor.scalar(number, dtype));
        }
        return scalars;
    }

    private void update(Group group, Slot slot, Tensor gradient, List<Tensor> numbers, Tensor finite, List<Variable> changed) {
        List<Tensor> inputs = new ArrayList<>();
        List<Variable> written = new ArrayList<>(List.of(slot.parameter));
        written.addAll(slot.variables().values()); // the master, if there is one, is the last
        inputs.add(gradient);
        inputs.addAll(numbers);
        written.forEach(variable -> inputs.add(variable.value()));
        if (finite != null) {
            inputs.add(finite);
        }
        Key key = new Key(slot.dtype, gradient.dtype());
        List<Tensor> next = Tensor.recordAll(group.ops.computeIfAbsent(key, k -> op(k, group, numbers.size())), inputs);
        for (int i = 0; i < next.size(); i++) {
            written.get(i).set(next.get(i));
        }
        changed.addAll(written);
    }

    /** {@code (gradient, numbers, parameter, state, master, finite) -> (parameter, state, master)}; see {@link LossScaler}. */
    private Elementwise op(Key key, Group group, int numberCount) {
        DType dtype = key.parameter;
        DType wide = dtype.computeType();
        List<Expr> rest = new ArrayList<>(); // numbers, then state
        for (int i = 0; i < numberCount + stateNames.size(); i++) {
            rest.add(new Expr.Input(i < numberCount ? 1 + i : 2 + i, wide));
        }
        Expr.Input parameter = new Expr.Input(1 + numberCount, dtype);
        Expr p = parameter;
        if (dtype != wide) {
            Expr master = new Expr.Input(2 + rest.size(), wide);
            Expr value = parameter.cast(wide);
            p = master.cast(dtype).cast(wide).compare(Expr.Comparison.EQ, value).select(master, value);
        }
        List<Expr> next = new ArrayList<>(update(p, new Expr.Input(0, key.gradient).cast(wide), rest.subList(numberCount, rest.size()),
                rest.subList(0, numberCount), group.weightDecay));
        if (dtype != wide) {
            next.add(next.getFirst());
            next.set(0, next.getFirst().cast(dtype));
        }
        if (scaler != null) {
            Expr finite = new Expr.Input(1 + numberCount + next.size(), DType.BOOL);
            for (int i = 0; i < next.size(); i++) {
                next.set(i, finite.select(next.get(i), new Expr.Input(1 + numberCount + i, next.get(i).dtype())));
            }
        }
        return new Elementwise(next);
    }

    /**
     * Everything to save for resuming: {@code learning_rate} ({@code F64}), and for the {@code i}-th parameter (counted
     * over all groups) {@code i.step} ({@code I64}), {@code i.NAME} for each tensor of state, and, if it has 16 bits, {@code i.master}; for a
     * {@link LossScaler} {@code loss_scale} and {@code good_steps}.
     */
    public Map<String, Tensor> state() {
        Map<String, Tensor> state = new LinkedHashMap<>();
        state.put("learning_rate", Tensor.of(new double[] {learningRate}));
        int i = 0;
        for (Group group : groups) {
            for (Slot slot : group.slots) {
                state.put(i + ".step", Tensor.of(new long[] {slot.steps}));
                String prefix = i++ + ".";
                slot.variables().forEach((name, variable) -> state.put(prefix + name, variable.value()));
            }
        }
        if (scaler != null) {
            scaler.variables().forEach((name, variable) -> state.put(name, variable.value()));
        }
        return state;
    }

    /**
     * Restores what {@link #state()} gave.
     *
     * @throws CheckpointException if a tensor is missing, too many, of another shape or dtype, or holds what cannot be;
     *     nothing is changed then
     */
    public void restore(Map<String, Tensor> state) {
        requireRestorable("optimizer", state);
        learningRate = state.get("learning_rate").item();
        List<Variable> changed = new ArrayList<>();
        int i = 0;
        for (Group group : groups) {
            for (Slot slot : group.slots) {
                slot.steps = state.get(i + ".step").toLongArray()[0];
                String prefix = i++ + ".";
                slot.variables().forEach((name, variable) -> {
                    variable.set(state.get(prefix + name));
                    changed.add(variable);
                });
            }
        }
        if (scaler != null) {
            scaler.variables().forEach((name, variable) -> {
                variable.set(state.get(name));
                changed.add(variable);
            });
        }
        Variable.settle(changed);
    }

    void requireRestorable(String what, Map<String, Tensor> state) {
        CheckpointException.requireSame(what, state(), state, false);
        double rate = state.get("learning_rate").item();
        if (!(rate >= 0 && rate < Double.POSITIVE_INFINITY)) {
            throw new CheckpointException(what + ": learning_rate is " + rate);
        }
        if (scaler != null && !(state.get("loss_scale").item() >= 1 && state.get("loss_scale").item() <= Float.MAX_VALUE)) {
            throw new CheckpointException(what + ": loss_scale is " + state.get("loss_scale").item());
        }
        state.forEach((name, tensor) -> {
            if (name.endsWith(".step") && tensor.toLongArray()[0] < 0) {
                throw new CheckpointException(what + ": " + name + " is " + tensor.toLongArray()[0]);
            }
        });
    }

    static double requireNonNegative(String what, double value) {
        if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("optimizer: " + what + " " + value + " is not a number of at least 0");
        }
        return value;
    }

    static double requireFraction(String what, double value) {
        if (!(value >= 0 && value < 1)) {
            throw new IllegalArgumentException("optimizer: " + what + " " + value + " is not in [0, 1)");
        }
        return value;
    }

    /** What an update's expressions depend on, besides the group. */
    private record Key(DType parameter, DType gradient) {}

    /** A parameter, its state and its master. */
    private static final class Slot {
        final Variable parameter;
        final DType dtype; // of the parameter; state and arithmetic are of its compute type
        final Map<String, Variable> variables = new LinkedHashMap<>();
        long steps;

        Slot(Variable parameter, List<String> stateNames) {
            this.parameter = parameter;
            dtype = parameter.dtype();
            DType wide = dtype.computeType();
            Device.with(parameter.device(), () -> {
                for (String name : stateNames) {
                    add(name, Tensor.full(0, wide, parameter.shape().dims()));
                }
                if (dtype != wide) {
                    add("master", parameter.value().to(wide));
                }
            });
        }

        private void add(String name, Tensor initial) {
            variables.put(name, new Variable(parameter.name() + "." + name, initial, false));
        }

        /** State by name, then the master if there is one. */
        Map<String, Variable> variables() {
            return variables;
        }

        void requireSameDtype() {
            if (parameter.dtype() != dtype) {
                throw new IllegalStateException("optimizer: parameter " + parameter + " was " + dtype
                        + " when the optimizer was built; convert parameters before that");
            }
        }
    }

    /** Parameters with the same settings. */
    private static final class Group {
        final List<Slot> slots = new ArrayList<>();
        final Map<Key, Elementwise> ops = new HashMap<>();
        final double ratio; // of its learning rate to that of the first group
        final double weightDecay;

        Group(double ratio, double weightDecay) {
            this.ratio = ratio;
            this.weightDecay = weightDecay;
        }
    }
}
