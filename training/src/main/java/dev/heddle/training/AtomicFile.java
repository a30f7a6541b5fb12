// How files are written that must never be seen half written.
package dev.heddle.training;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;
import org.slf4j.LoggerFactory;

/** Content goes to a temporary name in the same folder, is synced, and takes the file's place in one step. */
public final class AtomicFile {
    private AtomicFile() {}

    /** Writes what belongs into a file. */
    @FunctionalInterface
    public interface Content {
        /** Writes all of it; what it throws leaves the file as it was. */
        void writeTo(FileChannel channel) throws IOException;
    }

    /**
     * Writes a file, or leaves what was there before; makes its folder.
     *
     * @throws IOException if it cannot be written; what {@code content} throws goes through
     */
    public static void write(Path file, Content content) throws IOException {
        Path target = file.toAbsolutePath();
        Files.createDirectories(target.getParent());
        Path temporary = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID() + ".tmp");
        try {
            try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE_NEW)) {
                content.writeTo(channel);
                channel.force(true);
            }
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            delete(temporary);
        }
    }

    /** Writes bytes to a file, or leaves what was there before; makes its folder. */
    public static void write(Path file, byte[] content) throws IOException {
        write(file, channel -> write(channel, ByteBuffer.wrap(content)));
    }

    /**
     * Writes all of a buffer, from its position to its limit.
     *
     * @throws IOException if the channel cannot be written to
     */
    public static void write(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    private static void delete(Path temporary) {
        try {
            Files.deleteIfExists(temporary);
        } catch (IOException e) {
            LoggerFactory.getLogger(AtomicFile.class).warn("{} could not be removed: {}", temporary, e.toString());
        }
    }
}
