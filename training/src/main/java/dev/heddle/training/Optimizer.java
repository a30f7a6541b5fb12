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
 */
public abstract class Optimizer {
    /** Magnitudes of state below this become 0: decaying averages would end in denormal numbers, which are slow. */
    private static final double NEGLIGIBLE = 1e-30;

    private final List<Group> groups = new ArrayList<>();
    private final List<String> stateNames;
    private final double clipNorm;
    private final double clipValue;
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
        for (OptimizerBuilder.Settings settings : builder.settings()) {
            double ratio = learningRate == 0 ? 1 : settings.learningRate() / learningRate;
            Group group = new Group(ratio, settings.weightDecay());
            for (Variable parameter : settings.parameters()) {
                Slot slot = new Slot(parameter);
                for (String name : stateNames) {
                    Device.with(parameter.device(), () -> slot.state.add(new Variable(parameter.name() + "." + name,
                            Tensor.full(0, slot.dtype(), parameter.shape().dims()), false)));
                }
                group.slots.add(slot);
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
                slot.state.forEach(state -> state.to(slot.parameter.device()));
            }
        }
    }

    /**
     * Updates the parameters, in place. This is where a training loop computes: the forward and backward pass, the
     * updates, and all recorded results that nobody has read are evaluated together.
     *
     * @throws IllegalArgumentException if none of the optimizer's parameters has a gradient
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
        List<Variable> changed = new ArrayList<>();
        for (Group group : groups) {
            Map<Long, Map<DType, List<Tensor>>> numbers = new LinkedHashMap<>(); // one entry unless some were left alone before
            for (Slot slot : group.slots) {
                if (withGradient.contains(slot.parameter)) {
                    slot.steps++;
                    List<Tensor> shared = numbers.computeIfAbsent(slot.steps, step -> new EnumMap<>(DType.class))
                            .computeIfAbsent(slot.dtype(), dtype -> scalars(group, slot.steps, dtype));
                    update(group, slot, clipped.get(slot.parameter), shared, changed);
                }
            }
        }
        if (changed.isEmpty()) {
            throw new IllegalArgumentException("optimizer: the loss depends on none of its parameters");
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

    private void update(Group group, Slot slot, Tensor gradient, List<Tensor> numbers, List<Variable> changed) {
        List<Tensor> inputs = new ArrayList<>();
        inputs.add(slot.parameter.value());
        inputs.add(gradient);
        for (Variable state : slot.state) {
            inputs.add(state.value());
        }
        inputs.addAll(numbers);
        Elementwise op = group.ops.computeIfAbsent(slot.parameter.dtype(), dtype -> op(dtype, group, numbers.size()));
        List<Tensor> next = Tensor.recordAll(op, inputs);
        slot.parameter.set(next.getFirst());
        changed.add(slot.parameter);
        for (int i = 0; i < slot.state.size(); i++) {
            slot.state.get(i).set(next.get(i + 1));
            changed.add(slot.state.get(i));
        }
    }

    private Elementwise op(DType dtype, Group group, int numbers) {
        DType wide = dtype.computeType();
        List<Expr> inputs = new ArrayList<>();
        inputs.add(new Expr.Input(0, dtype).cast(wide));
        inputs.add(new Expr.Input(1, dtype).cast(wide));
        int states = stateNames.size();
        for (int i = 0; i < states + numbers; i++) {
            inputs.add(new Expr.Input(i + 2, wide));
        }
        List<Expr> next = new ArrayList<>(update(inputs.get(0), inputs.get(1), inputs.subList(2, 2 + states),
                inputs.subList(2 + states, inputs.size()), group.weightDecay));
        next.set(0, next.getFirst().cast(dtype));
        return new Elementwise(next);
    }

    /**
     * Everything to save for resuming: {@code learning_rate} ({@code F64}), and for the {@code i}-th parameter (counted
     * over all groups) {@code i.step} ({@code I64}) and {@code i.NAME} for each tensor of state.
     */
    public Map<String, Tensor> state() {
        Map<String, Tensor> state = new LinkedHashMap<>();
        state.put("learning_rate", Tensor.of(new double[] {learningRate}));
        int i = 0;
        for (Group group : groups) {
            for (Slot slot : group.slots) {
                state.put(i + ".step", Tensor.of(new long[] {slot.steps}));
                for (int k = 0; k < slot.state.size(); k++) {
                    state.put(i + "." + stateNames.get(k), slot.state.get(k).value());
                }
                i++;
            }
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
                for (int k = 0; k < slot.state.size(); k++) {
                    slot.state.get(k).set(state.get(i + "." + stateNames.get(k)));
                    changed.add(slot.state.get(k));
                }
                i++;
            }
        }
        Variable.settle(changed);
    }

    void requireRestorable(String what, Map<String, Tensor> state) {
        CheckpointException.requireSame(what, state(), state);
        double rate = state.get("learning_rate").item();
        if (!(rate >= 0 && rate < Double.POSITIVE_INFINITY)) {
            throw new CheckpointException(what + ": learning_rate is " + rate);
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

    /** A parameter and its state. */
    private static final class Slot {
        final Variable parameter;
        final List<Variable> state = new ArrayList<>();
        long steps;

        Slot(Variable parameter) {
            this.parameter = parameter;
        }

        /** Of the state and of the arithmetic. */
        DType dtype() {
            return parameter.dtype().computeType();
        }
    }

    /** Parameters with the same settings. */
    private static final class Group {
        final List<Slot> slots = new ArrayList<>();
        final Map<DType, Elementwise> ops = new EnumMap<>(DType.class);
        final double ratio; // of its learning rate to that of the first group
        final double weightDecay;

        Group(double ratio, double weightDecay) {
            this.ratio = ratio;
            this.weightDecay = weightDecay;
        }
    }
}
