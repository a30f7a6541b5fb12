// What all results have in common: one JSON file each, which begins with what was measured and where.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** Reports as JSON. */
public final class Results {
    private Results() {}

    /** An empty report: {@code what} was measured ({@code kernels}, {@code train} ...), and the {@linkplain Machine machine}. */
    public static ObjectNode begin(String what) {
        ObjectNode report = new ObjectMapper().createObjectNode().put("what", what);
        report.set("machine", Machine.describe());
        return report;
    }

    /** Writes a report to a temporary name, syncs it, and lets it take the file's place; makes the folder. */
    public static void write(Path file, ObjectNode report) throws IOException {
        Path target = file.toAbsolutePath();
        Files.createDirectories(target.getParent());
        Path part = Files.createTempFile(target.getParent(), "." + target.getFileName(), ".part");
        try {
            try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
                ByteBuffer text = ByteBuffer.wrap((report.toPrettyString() + "\n").getBytes(StandardCharsets.UTF_8));
                while (text.hasRemaining()) {
                    channel.write(text);
                }
                channel.force(true);
            }
            Files.move(part, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(part);
        }
    }
}
