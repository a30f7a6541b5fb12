// The file format of checkpoints.
package dev.heddle.training;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
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
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Named tensors and strings in the safetensors format: the length of the header as a little-endian 64-bit number, the header in
 * JSON (dtype, shape and byte range of each tensor, strings under {@code __metadata__}), the bytes. Files are written to a
 * temporary name, synced and renamed; nothing that a file says is believed before it is checked.
 *
 * @param tensors by name, in the file's order
 * @param metadata by name
 */
public record SafeTensors(Map<String, Tensor> tensors, Map<String, String> metadata) {
    private static final ObjectMapper JSON = new ObjectMapper()
            .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY, DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
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
        try {
            AtomicFile.write(file, channel -> {
                byte[] json = padded(JSON.writeValueAsBytes(header));
                AtomicFile.write(channel, ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, json.length));
                AtomicFile.write(channel, ByteBuffer.wrap(json));
                for (Tensor tensor : tensors.values()) {
                    write(channel, tensor);
                }
            });
        } catch (IOException e) {
            throw new CheckpointException(file + ": cannot be written: " + e, e);
        }
    }

    /** Spaces behind the JSON, so that the tensors begin at a multiple of 8. */
    private static byte[] padded(byte[] json) {
        byte[] padded = java.util.Arrays.copyOf(json, (json.length + 7) / 8 * 8);
        java.util.Arrays.fill(padded, json.length, padded.length, (byte) ' ');
        return padded;
    }

    private static void write(FileChannel channel, Tensor tensor) throws IOException {
        long length = tensor.spec().bytes();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(Math.max(1, length));
            tensor.copyTo(bytes);
            for (long from = 0; from < length; from += CHUNK) {
                AtomicFile.write(channel, bytes.asSlice(from, Math.min(CHUNK, length - from)).asByteBuffer());
            }
        }
    }

    /**
     * Reads a file. It is mapped, its header is checked as a whole, and a tensor is copied out of it only when the map of tensors is
     * first asked for it: until then the file may be replaced (as {@link #write} does) but not changed.
     *
     * @throws CheckpointException if it cannot be read or is not what it should be, naming the file and what is wrong
     */
    public static SafeTensors read(Path file) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            if (channel.size() < 8) {
                throw new CheckpointException(file + ": has " + channel.size() + " bytes, no safetensors file");
            }
            MemorySegment content = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), Arena.ofAuto());
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
            requireCovered(file, header, data.byteSize());
            Map<String, Supplier<Tensor>> tensors = new LinkedHashMap<>();
            Map<String, String> metadata = new LinkedHashMap<>();
            for (var field : header.properties()) {
                if (field.getKey().equals(METADATA)) {
                    if (!field.getValue().isObject()) {
                        throw new CheckpointException(file + ": metadata is " + field.getValue());
                    }
                    field.getValue().properties().forEach(e -> metadata.put(e.getKey(), string(file, e)));
                } else {
                    tensors.put(field.getKey(), tensor(file, field.getKey(), field.getValue(), data));
                }
            }
            return new SafeTensors(new LazyTensors(tensors), metadata);
        } catch (JsonProcessingException e) {
            throw new CheckpointException(file + ": the header is no JSON: " + e.getOriginalMessage(), e);
        } catch (IOException e) {
            throw new CheckpointException(file + ": cannot be read: " + e, e);
        }
    }

    /** The tensors must lie one behind the other and fill the data: so no header makes more memory of a file than it has. */
    private static void requireCovered(Path file, JsonNode header, long bytes) {
        List<long[]> ranges = new ArrayList<>();
        for (var field : header.properties()) {
            if (!field.getKey().equals(METADATA)) {
                JsonNode offsets = field.getValue().path("data_offsets");
                if (offsets.size() != 2 || !offsets.get(0).canConvertToLong() || !offsets.get(1).canConvertToLong()) {
                    throw new CheckpointException(file + ": tensor " + field.getKey() + " has data_offsets " + offsets);
                }
                ranges.add(new long[] {offsets.get(0).asLong(), offsets.get(1).asLong()});
            }
        }
        ranges.sort(Comparator.<long[]>comparingLong(range -> range[0]).thenComparingLong(range -> range[1]));
        long end = 0;
        for (long[] range : ranges) {
            if (range[0] != end || range[1] < end) {
                throw new CheckpointException(file + ": tensors overlap or leave a gap at byte " + end + " of the data");
            }
            end = range[1];
        }
        if (end != bytes) {
            throw new CheckpointException(file + ": tensors have " + end + " bytes, the file holds " + bytes);
        }
    }

    private static String string(Path file, Map.Entry<String, JsonNode> entry) {
        if (!entry.getValue().isTextual()) {
            throw new CheckpointException(file + ": metadata " + entry.getKey() + " is no string: " + entry.getValue());
        }
        return entry.getValue().textValue();
    }

    private static Supplier<Tensor> tensor(Path file, String name, JsonNode description, MemorySegment data) {
        try {
            DType dtype = DType.valueOf(description.path("dtype").asText());
            if (!description.path("shape").isArray()) {
                throw new ShapeException("shape " + description.path("shape"));
            }
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
            return () -> Tensor.of(data.asSlice(from, bytes), dtype, dims);
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
