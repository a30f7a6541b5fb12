// What all results have in common: one JSON file each, which begins with what was measured and where.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.training.AtomicFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Reports as JSON. */
public final class Results {
    private Results() {}

    /** An empty report: {@code what} was measured ({@code kernels}, {@code train} ...), and the {@linkplain Machine machine}. */
    public static ObjectNode begin(String what) {
        ObjectNode report = new ObjectMapper().createObjectNode().put("what", what);
        report.set("machine", Machine.describe());
        return report;
    }

    /** Writes a report in one step; makes the folder. */
    public static void write(Path file, ObjectNode report) throws IOException {
        AtomicFile.write(file, (report.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
    }
}
