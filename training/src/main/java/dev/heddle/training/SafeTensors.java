// The file format of checkpoints.
package dev.heddle.training;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Spec;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Named tensors and strings in the safetensors format: the length of the header as a little-endian 64-bit number, the header in
 * JSON (dtype, shape and byte range of each tensor, strings under {@code __metadata__}), the bytes. Files are written to a
 * temporary name, synced and renamed; nothing that a file says is believed before it is checked.
 *
 * @param tensors by name, in the file's order
 * @param metadata by name
 */
public record SafeTensors(Map<String, Tensor> tensors, Map<String, String> metadata) {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String METADATA = "__metadata__";
    private static final long MAX_HEADER = 100_000_000;
    private static final int CHUNK = 1 << 20;

    /**
     * Writes a file, or leaves what was there before.
     *
     * @throws CheckpointException if it cannot be written
     */
    public void write(Path file) {
        ObjectNode header = JSON.createObjectNode();
        ObjectNode strings = header.putObject(METADATA);
        metadata.forEach(strings::put);
        long end = 0;
        for (var entry : tensors.entrySet()) {
            Spec spec = entry.getValue().spec();
            ObjectNode description = header.putObject(entry.getKey());
            description.put("dtype", spec.dtype().name());
            ArrayNode shape = description.putArray("shape");
            for (long dim : spec.shape().dims()) {
                shape.add(dim);
            }
            description.putArray("data_offsets").add(end).add(end + spec.bytes());
            end += spec.bytes();
        }
        Path target = file.toAbsolutePath();
        Path temporary = null;
        try {
            Files.createDirectories(target.getParent());
            temporary = Files.createTempFile(target.getParent(), target.getFileName().toString(), ".tmp");
            try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE); Arena arena = Arena.ofConfined()) {
                byte[] json = padded(JSON.writeValueAsBytes(header));
                write(channel, ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, json.length));
                write(channel, ByteBuffer.wrap(json));
                for (Tensor tensor : tensors.values()) {
                    MemorySegment bytes = arena.allocate(Math.max(1, tensor.spec().bytes()));
                    tensor.copyTo(bytes);
                    for (long from = 0; from < tensor.spec().bytes(); from += CHUNK) {
                        write(channel, bytes.asSlice(from, Math.min(CHUNK, tensor.spec().bytes() - from)).asByteBuffer());
                    }
                }
                channel.force(true);
            }
            Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            throw new CheckpointException(file + ": cannot be written: " + e, e);
        } finally {
            delete(temporary);
        }
    }

    /** Spaces behind the JSON, so that the tensors begin at a multiple of 8. */
    private static byte[] padded(byte[] json) {
        byte[] padded = java.util.Arrays.copyOf(json, (json.length + 7) / 8 * 8);
        java.util.Arrays.fill(padded, json.length, padded.length, (byte) ' ');
        return padded;
    }

    private static void write(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    private static void delete(Path temporary) {
        try {
            if (temporary != null) {
                Files.deleteIfExists(temporary);
            }
        } catch (IOException e) {
            org.slf4j.LoggerFactory.getLogger(SafeTensors.class).warn("{} could not be removed: {}", temporary, e.toString());
        }
    }

    /**
     * Reads a file.
     *
     * @throws CheckpointException if it cannot be read or is not what it should be, naming the file and what is wrong
     */
    public static SafeTensors read(Path file) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ); Arena arena = Arena.ofConfined()) {
            if (channel.size() < 8) {
                throw new CheckpointException(file + ": has " + channel.size() + " bytes, no safetensors file");
            }
            MemorySegment content = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            long length = content.get(java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), 0);
            if (length < 2 || length > MAX_HEADER || length > content.byteSize() - 8) {
                throw new CheckpointException(file + ": header of " + length + " bytes in a file of " + content.byteSize());
            }
            JsonNode header = JSON.readTree(new String(
                    content.asSlice(8, length).toArray(java.lang.foreign.ValueLayout.JAVA_BYTE), StandardCharsets.UTF_8));
            if (!header.isObject()) {
                throw new CheckpointException(file + ": the header is no JSON object");
            }
            MemorySegment data = content.asSlice(8 + length);
            Map<String, Tensor> tensors = new LinkedHashMap<>();
            Map<String, String> metadata = new LinkedHashMap<>();
            for (var field : header.properties()) {
                if (field.getKey().equals(METADATA)) {
                    field.getValue().properties().forEach(e -> metadata.put(e.getKey(), e.getValue().asText()));
                } else {
                    tensors.put(field.getKey(), tensor(file, field.getKey(), field.getValue(), data));
                }
            }
            return new SafeTensors(tensors, metadata);
        } catch (JsonProcessingException e) {
            throw new CheckpointException(file + ": the header is no JSON: " + e.getOriginalMessage(), e);
        } catch (IOException e) {
            throw new CheckpointException(file + ": cannot be read: " + e, e);
        }
    }

    private static Tensor tensor(Path file, String name, JsonNode description, MemorySegment data) {
        try {
            DType dtype = DType.valueOf(description.path("dtype").asText());
            long[] dims = new long[description.path("shape").size()];
            for (int i = 0; i < dims.length; i++) {
                dims[i] = wholeNumber(description.path("shape").get(i));
            }
            long from = wholeNumber(description.path("data_offsets").path(0));
            long to = wholeNumber(description.path("data_offsets").path(1));
            long bytes = new Spec(dtype, Shape.of(dims)).bytes();
            if (from < 0 || to < from || to > data.byteSize() || to - from != bytes) {
                throw new CheckpointException(file + ": tensor " + name + " of " + bytes + " bytes is said to lie at [" + from + ", "
                        + to + ") of " + data.byteSize());
            }
            return Tensor.of(data.asSlice(from, bytes), dtype, dims);
        } catch (ShapeException | ArithmeticException e) {
            throw new CheckpointException(file + ": tensor " + name + ": " + e.getMessage(), e);
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file + ": tensor " + name + ": dtype " + description.path("dtype"), e);
        }
    }

    private static long wholeNumber(JsonNode node) {
        if (!node.isIntegralNumber() || !node.canConvertToLong()) {
            throw new ShapeException("expected a whole number, found " + node);
        }
        return node.asLong();
    }
}
