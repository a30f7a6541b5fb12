// The error of checkpoints that cannot be read, written or used.
package dev.heddle.training;

import dev.heddle.engine.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Names the file or the tensor, what was expected and what was found. */
public final class CheckpointException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param message what is wrong with what */
    public CheckpointException(String message) {
        super(message);
    }

    /** @param message what is wrong with what @param cause why */
    public CheckpointException(String message, Throwable cause) {
        super(message, cause);
    }

    /** Checks that two sets of named tensors have the same names, shapes and dtypes; one float for another if they are converted. */
    static void requireSame(String what, Map<String, Tensor> expected, Map<String, Tensor> found, boolean converted) {
        List<String> problems = new ArrayList<>();
        expected.forEach((name, tensor) -> {
            Tensor other = found.get(name);
            if (other == null) {
                problems.add("missing " + name);
            } else if (!other.spec().equals(tensor.spec()) && !(converted && other.shape().equals(tensor.shape())
                    && other.dtype().isFloat() && tensor.dtype().isFloat())) {
                problems.add(name + " is " + other.spec() + " instead of " + tensor.spec());
            }
        });
        found.keySet().stream().filter(name -> !expected.containsKey(name)).forEach(name -> problems.add("unexpected " + name));
        if (!problems.isEmpty()) {
            throw new CheckpointException(what + ": " + String.join(", ", problems));
        }
    }
}
