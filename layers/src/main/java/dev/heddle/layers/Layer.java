// What all layers share: named parameters and buffers, children, train and eval mode.
package dev.heddle.layers;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A function of a tensor with state. Subclasses register what they own in their constructor with {@link #parameter},
 * {@link #buffer} and {@link #child}, and say what they compute in {@link #forward}.
 */
public abstract class Layer {
    private final Map<String, Variable> ownParameters = new LinkedHashMap<>();
    private final Map<String, Variable> ownBuffers = new LinkedHashMap<>();
    private final Map<String, Layer> children = new LinkedHashMap<>();
    private Layer wrapped; // or null
    private boolean training = true;

    /**
     * Records the layer's output.
     *
     * @throws ShapeException if the input does not fit
     */
    public abstract Tensor forward(Tensor x);

    /** Registers a trainable variable under a name without dots. */
    protected final Variable parameter(String name, Tensor initial) {
        Variable variable = new Variable(name, initial, true);
        ownParameters.put(name, variable);
        return variable;
    }

    /** Registers a variable that is saved but not trained, such as running statistics. */
    protected final Variable buffer(String name, Tensor initial) {
        Variable variable = new Variable(name, initial, false);
        ownBuffers.put(name, variable);
        return variable;
    }

    /** Registers a layer inside this one. */
    protected final <L extends Layer> L child(String name, L layer) {
        children.put(name, layer);
        return layer;
    }

    /** Takes over what another layer owns, under the same names, and lets that one follow this one's mode: for a layer around another. */
    protected final void wrap(Layer inner) {
        ownParameters.putAll(inner.ownParameters);
        ownBuffers.putAll(inner.ownBuffers);
        children.putAll(inner.children);
        wrapped = inner;
    }

    /** The layers directly inside this one, by name. */
    public final Map<String, Layer> children() {
        return java.util.Collections.unmodifiableMap(children);
    }

    /** The parameters of this layer and all inside it, in order. */
    public final Collection<Variable> parameters() {
        return namedParameters().values();
    }

    /** The same by path, for example {@code 0.weight}. */
    public final Map<String, Variable> namedParameters() {
        Map<String, Variable> all = new LinkedHashMap<>();
        collect("", all, true, false);
        return all;
    }

    /** The buffers of this layer and all inside it, by path. */
    public final Map<String, Variable> namedBuffers() {
        Map<String, Variable> all = new LinkedHashMap<>();
        collect("", all, false, true);
        return all;
    }

    /** Parameters and buffers by path: what a checkpoint holds. */
    public final Map<String, Variable> state() {
        Map<String, Variable> all = new LinkedHashMap<>();
        collect("", all, true, true);
        return all;
    }

    private void collect(String prefix, Map<String, Variable> all, boolean parameters, boolean buffers) {
        if (parameters) {
            ownParameters.forEach((name, variable) -> all.put(prefix + name, variable));
        }
        if (buffers) {
            ownBuffers.forEach((name, variable) -> all.put(prefix + name, variable));
        }
        children.forEach((name, child) -> child.collect(prefix + name + ".", all, parameters, buffers));
    }

    /**
     * Sets all parameters and buffers.
     *
     * @param values by path, exactly those of {@link #state()}
     * @throws IllegalArgumentException naming what is missing or not expected; nothing is changed then
     * @throws ShapeException if a shape differs, or a dtype, unless both are floats: those are converted; nothing is changed then
     */
    public final void loadState(Map<String, Tensor> values) {
        Map<String, Variable> state = state();
        List<String> problems = new ArrayList<>();
        state.keySet().stream().filter(name -> !values.containsKey(name)).forEach(name -> problems.add("missing " + name));
        values.keySet().stream().filter(name -> !state.containsKey(name)).forEach(name -> problems.add("unexpected " + name));
        if (!problems.isEmpty()) {
            throw new IllegalArgumentException("load state: " + String.join(", ", problems));
        }
        state.forEach((name, variable) -> {
            Tensor value = values.get(name);
            boolean converts = value.dtype().isFloat() && variable.dtype().isFloat();
            if (!value.shape().equals(variable.shape()) || value.dtype() != variable.dtype() && !converts) {
                throw new ShapeException("load state: " + name + " is " + value.spec() + ", the layer's is " + variable.dtype()
                        + variable.shape());
            }
        });
        state.forEach((name, variable) -> variable.set(values.get(name).to(variable.dtype())));
        Variable.settle(state.values());
    }

    /** Number of trainable numbers. */
    public final long parameterCount() {
        return parameters().stream().mapToLong(p -> p.shape().elements()).sum();
    }

    /** Whether the layer is in training mode, as it is at first: dropout drops, batch norm uses the batch's statistics. */
    public final boolean training() {
        return training;
    }

    /**
     * Moves all parameters and buffers to a device; do so before an optimizer is built for them.
     *
     * @throws dev.heddle.engine.DeviceUnavailableException if it cannot be used
     */
    public final Layer to(Device device) {
        state().values().forEach(variable -> variable.to(device));
        return this;
    }

    /**
     * Converts the parameters to a float dtype; do so before an optimizer is built for them. Buffers stay as they are: running
     * statistics move by steps too small for 16 bits.
     *
     * @throws ShapeException if the dtype is no float
     */
    public final Layer to(DType dtype) {
        parameters().forEach(parameter -> parameter.to(dtype));
        return this;
    }

    /** The dtype of the parameters, which inputs should have; of a layer without any, {@code F32}. */
    public final DType dtype() {
        return parameters().stream().findFirst().map(Variable::dtype).orElse(DType.F32);
    }

    /** Where the parameters and buffers are; of a layer without any, {@link Device#current()}. */
    public final Device device() {
        return state().values().stream().findFirst().map(Variable::device).orElseGet(Device::current);
    }

    /** Puts this layer and all inside it into training mode. */
    public final Layer train() {
        return train(true);
    }

    /** Puts this layer and all inside it into evaluation mode. */
    public final Layer eval() {
        return train(false);
    }

    private Layer train(boolean on) {
        training = on;
        if (wrapped != null) {
            wrapped.train(on);
        }
        children.values().forEach(child -> child.train(on));
        return this;
    }

    /**
     * A table of the layers with output shapes and parameter counts, for an input shape. Nothing is computed: shapes are
     * known from recording.
     */
    public final String summary(long... input) {
        return Summary.of(this, input);
    }

    /** The class name, and options where a subclass adds them. */
    @Override
    public String toString() {
        return getClass().getSimpleName();
    }
}
