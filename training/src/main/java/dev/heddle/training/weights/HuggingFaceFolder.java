// A model as Hugging Face publishes it: a folder with config.json and safetensors, in one file or in several.
package dev.heddle.training.weights;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.engine.Tensor;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.LazyTensors;
import dev.heddle.training.SafeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** The two parts of such a folder that weights are read from. */
final class HuggingFaceFolder {
    private static final int LARGEST = 1 << 24; // of a number in config.json: more would be no model, but a mistake
    private static final String ONE_FILE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    private final Path folder;
    private final JsonNode config;

    /** @throws CheckpointException if there is no config.json of a model of this type */
    HuggingFaceFolder(Path folder, String type) {
        this.folder = folder;
        config = json("config.json");
        String found = config.path("model_type").asText();
        if (!found.equals(type)) {
            throw new CheckpointException(folder.resolve("config.json") + ": model_type is '" + found + "', not '" + type + "'");
        }
    }

    private JsonNode json(String name) {
        try {
            return new ObjectMapper().readTree(folder.resolve(name).toFile());
        } catch (IOException e) {
            throw new CheckpointException(folder.resolve(name) + ": cannot be read: " + e.getMessage(), e);
        }
    }

    /** A positive number of config.json. */
    int number(String key) {
        JsonNode value = config.path(key);
        if (!value.isInt() || value.intValue() < 1 || value.intValue() > LARGEST) {
            throw new CheckpointException(folder.resolve("config.json") + ": " + key + " is " + value);
        }
        return value.intValue();
    }

    /** A positive number of config.json, or another one if it has none or null. */
    int number(String key, int otherwise) {
        return config.path(key).isMissingNode() || config.path(key).isNull() ? otherwise : number(key);
    }

    /** A positive number of config.json that need not be whole, or another one if it has none or null. */
    double decimal(String key, double otherwise) {
        JsonNode value = config.path(key);
        if (value.isMissingNode() || value.isNull()) {
            return otherwise;
        }
        if (!value.isNumber() || !(value.doubleValue() > 0 && value.doubleValue() < Double.POSITIVE_INFINITY)) {
            throw new CheckpointException(folder.resolve("config.json") + ": " + key + " is " + value);
        }
        return value.doubleValue();
    }

    /** Whether config.json says yes; no if it says nothing. */
    boolean flag(String key) {
        return config.path(key).asBoolean(false);
    }

    /** Checks that config.json says nothing of something that our model does not know. */
    void refuse(String key) {
        JsonNode value = config.path(key);
        if (!value.isMissingNode() && !value.isNull()) {
            throw new CheckpointException(folder.resolve("config.json") + ": " + key + " is " + value + ", which is not known");
        }
    }

    /** Checks that a value of config.json, if there is one, is the only one that our model knows. */
    void require(String key, String only) {
        JsonNode value = config.path(key);
        if (!value.isMissingNode() && !value.isNull() && !value.asText().equals(only)) {
            throw new CheckpointException(folder.resolve("config.json") + ": " + key + " is '" + value.asText() + "'; only '" + only + "' is known");
        }
    }

    /** All tensors, by the names of the checkpoint. */
    Map<String, Tensor> tensors() {
        if (Files.exists(folder.resolve(ONE_FILE)) || !Files.exists(folder.resolve(INDEX))) {
            return SafeTensors.read(folder.resolve(ONE_FILE)).tensors();
        }
        Map<String, Map<String, Tensor>> files = new LinkedHashMap<>();
        Map<String, Supplier<Tensor>> all = new LinkedHashMap<>();
        json(INDEX).path("weight_map").properties().forEach(entry -> {
            String name = entry.getKey();
            String file = entry.getValue().asText();
            if (!file.matches("[\\w.-]+\\.safetensors")) {
                throw new CheckpointException(folder.resolve(INDEX) + ": '" + file + "' is no name of a file beside it");
            }
            Map<String, Tensor> tensors = files.computeIfAbsent(file, f -> SafeTensors.read(folder.resolve(f)).tensors());
            if (!tensors.containsKey(name)) {
                throw new CheckpointException(folder.resolve(file) + ": has no tensor " + name);
            }
            all.put(name, () -> tensors.get(name));
        });
        return new LazyTensors(all);
    }
}
