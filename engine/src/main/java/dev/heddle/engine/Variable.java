// The only mutable thing in the system: parameters, running statistics, optimizer moments.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Spec;
import java.util.Collection;

/**
 * A tensor-valued state. {@link #value()} is the current tensor; {@link #set} records the next one, which
 * {@code value()} returns from then on. Evaluation settles pending sets in place, in the variable's own memory. The shape
 * never changes, the dtype only by {@link #to(DType)}.
 */
public final class Variable {
    private final String name;
    private Buffer buffer;
    private Device device;
    private Spec spec;
    private boolean trainable;
    private Tensor current; // a STATE leaf when settled, the recipe of the next value while a set is pending
    private boolean pending;

    /**
     * A variable with its own copy of an initial value, which is evaluated now.
     *
     * @param name used in messages; layers give the path, such as {@code 0.weight}
     * @param trainable whether {@link Tensor#backward()} computes its gradient; needs a float dtype
     */
    public Variable(String name, Tensor initial, boolean trainable) {
        if (trainable && !initial.dtype().isFloat()) {
            throw new ShapeException("variable " + name + ": " + initial.dtype() + " cannot be trained");
        }
        this.name = name;
        this.spec = initial.spec();
        this.trainable = trainable;
        Tensor copy = Evaluation.copy(initial);
        this.buffer = copy.node.values[0];
        this.device = copy.device();
        settled();
    }

    /** The name given at construction. */
    public String name() {
        return name;
    }

    /** Extents. */
    public Shape shape() {
        return spec.shape();
    }

    /** Element type. */
    public DType dtype() {
        return spec.dtype();
    }

    /** Where it lives. */
    public Device device() {
        return device;
    }

    /** Moves the variable to a device; graphs recorded before keep the old value. Does nothing if it is there. */
    public void to(Device device) {
        if (device.equals(this.device)) {
            return;
        }
        Tensor moved = HostData.move(current, device);
        buffer = moved.node.values[0];
        this.device = device;
        settled();
    }

    /**
     * Converts the variable, its value rounded; graphs recorded before keep the old value. Does nothing if it has the dtype. An optimizer
     * is built after that: it refuses a parameter whose dtype has changed.
     *
     * @throws ShapeException if the variable is trainable and the dtype is no float
     */
    public void to(DType dtype) {
        if (dtype == spec.dtype()) {
            return;
        }
        if (trainable && !dtype.isFloat()) {
            throw new ShapeException("variable " + name + ": " + dtype + " cannot be trained");
        }
        Tensor converted = Evaluation.copy(current.to(dtype));
        buffer = converted.node.values[0];
        spec = converted.spec();
        settled();
    }

    /** Whether {@link Tensor#backward()} computes a gradient for this variable. */
    public boolean trainable() {
        return trainable;
    }

    /** Freezes or unfreezes the variable; graphs recorded before keep what they had. */
    public void trainable(boolean trainable) {
        if (trainable && !dtype().isFloat()) {
            throw new ShapeException("variable " + name + ": " + dtype() + " cannot be trained");
        }
        this.trainable = trainable;
        if (!pending) {
            current = Tensor.state(this);
        }
    }

    /** The current value: the last one set, whether evaluated or not. */
    public Tensor value() {
        return current;
    }

    /**
     * Records the next value. It is computed, in place, by the next evaluation of a graph it belongs to, by
     * {@link #settle}, or when somebody reads it.
     *
     * @throws ShapeException if shape or dtype differ
     */
    public void set(Tensor next) {
        if (!next.spec().equals(spec)) {
            throw new ShapeException("variable " + name + ": is " + spec + ", cannot be set to " + next.spec());
        }
        current = Tensor.pendingState(this, next);
        if (!pending) {
            pending = true;
            Recorder.current().addPending(this);
        }
    }

    /** Evaluates the pending sets of the given variables, and all results that need the values they overwrite or share work with them. */
    public static void settle(Collection<Variable> variables) {
        Evaluation.settle(variables);
    }

    /** The name, dtype and shape. */
    @Override
    public String toString() {
        return name + " " + spec;
    }

    Spec spec() {
        return spec;
    }

    Buffer buffer() {
        return buffer;
    }

    boolean pending() {
        return pending;
    }

    /** Called when the buffer holds the current value. */
    void settled() {
        pending = false;
        current = Tensor.state(this);
    }
}
