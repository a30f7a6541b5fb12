// What importers of checkpoints share: they take tensors by the names of others and put them under ours, all or none.
package dev.heddle.training.weights;

import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.layers.Layer;
import dev.heddle.training.CheckpointException;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;

/** Collects the state of a layer from a checkpoint; {@link #finish} sets it. */
final class Importer {
    private final Layer model;
    private final Map<String, Variable> state;
    private final Map<String, Tensor> checkpoint;
    private final String prefix;
    private final Set<String> taken = new HashSet<>();
    private final Map<String, Tensor> values = new LinkedHashMap<>();

    /**
     * An import into a model.
     *
     * @param prefix ahead of names, as checkpoints have it that hold more than the model, such as a head; it may be absent, from all
     *     or from some
     * @param first the name of a tensor that every checkpoint has, to see whether the prefix is there
     */
    Importer(Layer model, Map<String, Tensor> checkpoint, String prefix, String first) {
        this.model = model;
        this.state = model.state();
        this.checkpoint = checkpoint;
        this.prefix = checkpoint.containsKey(prefix + first) ? prefix : "";
    }

    private String what(String name) {
        return model.getClass().getSimpleName() + ": checkpoint tensor " + prefix + name;
    }

    private String key(String theirs) {
        return checkpoint.containsKey(prefix + theirs) ? prefix + theirs : theirs;
    }

    /** A tensor of the checkpoint, which must be there in this shape. */
    Tensor take(String theirs, Shape shape) {
        Tensor tensor = checkpoint.get(key(theirs));
        if (tensor == null) {
            throw new CheckpointException(what(theirs) + " is missing");
        }
        if (!tensor.shape().equals(shape) || !tensor.dtype().isFloat()) {
            throw new CheckpointException(what(theirs) + " is " + tensor.spec() + ", expected are numbers of shape " + shape);
        }
        taken.add(key(theirs));
        return tensor;
    }

    /** The shape of one of our variables. */
    Shape shape(String ours) {
        return state.get(ours).shape();
    }

    /** Gives one of our variables its value. */
    void put(String ours, Tensor value) {
        values.put(ours, value.to(state.get(ours).dtype()));
    }

    /** A tensor that is the same in both. */
    void copy(String ours, String theirs) {
        put(ours, take(theirs, shape(ours)));
    }

    /** Weight and bias of a linear layer or a norm that are the same in both. */
    void layer(String ours, String theirs) {
        copy(ours + ".weight", theirs + ".weight");
        copy(ours + ".bias", theirs + ".bias");
    }

    /** Keys and values: two layers of theirs, one of ours with the keys first; with biases if ours has them. */
    void keyValue(String ours, String keys, String values) {
        for (String part : state.containsKey(ours + ".bias") ? List.of(".weight", ".bias") : List.of(".weight")) {
            long[] half = shape(ours + part).dims();
            half[0] /= 2;
            put(ours + part, Tensor.concat(0, take(keys + part, Shape.of(half)), take(values + part, Shape.of(half)))); // (2 C, ...)
        }
    }

    /** Whether the checkpoint has a tensor. */
    boolean has(String theirs) {
        return checkpoint.containsKey(key(theirs));
    }

    /** Leaves one of our variables as it is. */
    void leave(String ours) {
        values.put(ours, state.get(ours).value());
    }

    /**
     * Sets the model's state.
     *
     * @param part a regular expression: names (without the prefix) that are part of the model, so that one that was not taken is an
     *     error: the checkpoint is that of a larger model, say
     */
    void finish(String part) {
        Pattern pattern = Pattern.compile(part);
        for (String name : checkpoint.keySet()) {
            if (!taken.contains(name) && name.startsWith(prefix) && pattern.matcher(name.substring(prefix.length())).matches()) {
                throw new CheckpointException(model.getClass().getSimpleName() + ": checkpoint tensor " + name + " has no place in this model");
            }
        }
        model.loadState(values);
    }
}
