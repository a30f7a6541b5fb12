// Saving a training run so that it goes on as if it had never stopped.
package dev.heddle.training;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Layer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/** Model, optimizer and random numbers in one safetensors file; a resumed run gives the same bits as one that went on. */
public final class Checkpoint {
    private static final String MODEL = "model.";
    private static final String OPTIMIZER = "optimizer.";

    private Checkpoint() {}

    /**
     * Saves a run.
     *
     * @param optimizer null to save the model alone
     * @param generator the one that dropout draws from, or null
     * @param epoch the epochs done
     * @param metadata anything else worth keeping
     * @throws CheckpointException if the file cannot be written; what was there before is left then
     */
    public static void save(Path file, Layer model, Optimizer optimizer, Generator generator, long epoch, Map<String, String> metadata) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        model.state().forEach((name, variable) -> tensors.put(MODEL + name, variable.value()));
        if (optimizer != null) {
            optimizer.state().forEach((name, tensor) -> tensors.put(OPTIMIZER + name, tensor));
        }
        Map<String, String> strings = new TreeMap<>(metadata); // sorted, so that equal runs write equal files
        strings.put("format", "heddle 1");
        strings.put("epoch", Long.toString(epoch));
        if (generator != null) {
            strings.put("generator", generator.seed() + " " + generator.offset());
        }
        new SafeTensors(tensors, strings).write(file);
    }

    /**
     * Restores a run; arguments as for {@link #save}. A model of another float dtype gets the values converted; an optimizer does not.
     *
     * @return the metadata, in it {@code epoch}
     * @throws CheckpointException if the file cannot be read or does not fit the model or the optimizer; nothing is changed
     *     then
     */
    public static Map<String, String> load(Path file, Layer model, Optimizer optimizer, Generator generator) {
        SafeTensors content = SafeTensors.read(file);
        if (!"heddle 1".equals(content.metadata().get("format"))) {
            throw new CheckpointException(file + ": is no checkpoint of Heddle");
        }
        Map<String, Tensor> expected = new LinkedHashMap<>();
        model.state().forEach((name, variable) -> expected.put(name, variable.value()));
        Map<String, Tensor> state = part(content, MODEL);
        CheckpointException.requireSame(file + ": model", expected, state, true);
        number(file, "epoch", content.metadata().get("epoch"));
        Map<String, Tensor> moments = part(content, OPTIMIZER);
        if (optimizer != null) {
            optimizer.requireRestorable(file + ": optimizer", moments);
        }
        if (generator != null) {
            String[] place = content.metadata().getOrDefault("generator", "").split(" ", 2);
            generator.restore(number(file, "generator seed", place[0]), number(file, "generator offset", place[place.length - 1]));
        }
        if (optimizer != null) {
            optimizer.restore(moments);
        }
        model.loadState(state);
        return content.metadata();
    }

    private static long number(Path file, String name, String text) {
        try {
            return Long.parseLong(text);
        } catch (NumberFormatException e) {
            throw new CheckpointException(file + ": " + name + " is '" + text + "'", e);
        }
    }

    private static Map<String, Tensor> part(SafeTensors content, String prefix) {
        Map<String, Tensor> part = new LinkedHashMap<>();
        content.tensors().forEach((name, tensor) -> {
            if (name.startsWith(prefix)) {
                part.put(name.substring(prefix.length()), tensor);
            }
        });
        return part;
    }
}
