// A file of results, as the other commands write them with --json.
package dev.heddle.bench.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Its name, and what is in it. */
record Result(Path file, JsonNode json) {
    private static final List<String> KINDS = List.of("train", "kernels", "scaling", "jmh");

    /**
     * Reads a file.
     *
     * @param skipped is told when the file is of a shape that no present command writes
     * @throws IOException if it cannot be read, or is no JSON
     */
    static Optional<Result> read(Path file, Consumer<String> skipped) throws IOException {
        JsonNode json;
        try {
            json = new ObjectMapper().readTree(Files.readAllBytes(file));
        } catch (JsonProcessingException e) {
            throw new IOException(file + ": is no JSON: " + e.getOriginalMessage() + " (line " + e.getLocation().getLineNr() + ", column "
                    + e.getLocation().getColumnNr() + ")", e);
        } catch (IOException e) {
            throw new IOException(file + ": cannot be read: " + e, e);
        }
        if (!KINDS.contains(json.path("what").asText()) || !json.path("machine").isObject()) {
            skipped.accept(file + ": skipped, of another shape than `heddle bench` writes with --json (" + String.join(", ", KINDS) + ")");
            return Optional.empty();
        }
        return Optional.of(new Result(file, json));
    }

    /** {@code train}, {@code kernels}, {@code scaling} or {@code jmh}. */
    String what() {
        return json.get("what").asText();
    }

    /** The file's name. */
    String name() {
        return file.getFileName().toString();
    }

    /** What is at a path; a missing node if there is nothing. */
    JsonNode at(String... path) {
        JsonNode node = json;
        for (String name : path) {
            node = node.path(name);
        }
        return node;
    }

    /** The names at a path, in the order of the file. */
    List<String> names(String... path) {
        List<String> names = new ArrayList<>();
        at(path).fieldNames().forEachRemaining(names::add);
        return names;
    }

    /**
     * The number at a path.
     *
     * @throws IllegalArgumentException if there is none
     */
    double number(String... path) {
        return number(at(path), String.join("/", path));
    }

    /** {@code node} as a number, {@code where} it stands in the file. */
    double number(JsonNode node, String where) {
        if (!node.isNumber()) {
            throw new IllegalArgumentException(file + ": there should be a number at " + where + ", but there is " + (node.isMissingNode() ? "nothing" : node));
        }
        return node.asDouble();
    }

    /** The processor or the GPU, and how many cores. */
    String machine() {
        JsonNode machine = json.get("machine");
        if (machine.path("gpu").has("name")) {
            return machine.get("gpu").get("name").asText();
        }
        return machine.path("processors").asText("?") + " cores of " + machine.path("cpu").asText("an unknown processor");
    }

    /** Date and commit. */
    String version() {
        return json.get("machine").path("date").asText("no date") + ", commit " + json.get("machine").path("commit").asText("unknown");
    }

    /** The {@code *.json} in a folder, by name. */
    static List<Path> list(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(f -> f.getFileName().toString().endsWith(".json")).sorted().collect(Collectors.toList());
        }
    }
}
