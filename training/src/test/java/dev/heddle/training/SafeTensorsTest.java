// The file format: what is written can be read, by others too, and what is broken is refused.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.memory.Buffer;
import dev.heddle.testing.NoLeaks;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class SafeTensorsTest {
    @TempDir
    private Path folder;

    private Path write(String header, byte... data) throws IOException {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        ByteBuffer bytes = ByteBuffer.allocate(8 + json.length + data.length).order(ByteOrder.LITTLE_ENDIAN);
        return Files.write(folder.resolve("file"), bytes.putLong(json.length).put(json).put(data).array());
    }

    private void refused(Path file, String... words) {
        String message = assertThrows(CheckpointException.class, () -> SafeTensors.read(file)).getMessage();
        assertTrue(message.contains(file.toString()), message);
        for (String word : words) {
            assertTrue(message.contains(word), message);
        }
    }

    private void refused(String header, int bytes, String... words) throws IOException {
        refused(write(header, new byte[bytes]), words);
    }

    private static Map<String, Tensor> tensors() {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        tensors.put("bool", Tensor.of(new boolean[] {true, false, true}, 3));
        tensors.put("f32", Tensor.of(new float[] {1.5f, -0f, Float.NaN, Float.POSITIVE_INFINITY, Float.MIN_VALUE, 7}, 2, 3));
        tensors.put("f64", Tensor.of(new double[] {Math.PI, -1e300}, 2));
        tensors.put("bf16", Tensor.of(1.5f, -3f, 1e30f).to(DType.BF16));
        tensors.put("f16", Tensor.of(1.5f, -3f, 6e4f).to(DType.F16));
        tensors.put("i64", Tensor.of(new long[] {Long.MIN_VALUE, Long.MAX_VALUE, (1L << 53) + 1}, 3));
        tensors.put("i32", Tensor.of(new int[] {Integer.MIN_VALUE, 5}, 1, 2, 1));
        tensors.put("u8", Tensor.of(new byte[] {0, -1, 7}, 3));
        tensors.put("scalar", Tensor.scalar(4.25).add(0));
        tensors.put("empty", Tensor.zeros(0, 3));
        tensors.put("näme \"quoted\"/\\", Tensor.of(1f));
        return tensors;
    }

    @Test
    void everyTypeComesBack() throws IOException {
        Path file = folder.resolve("new/folder/model.safetensors");
        Map<String, String> metadata = Map.of("epoch", "3", "größe", "\"zwei\"\n");
        new SafeTensors(tensors(), metadata).write(file);
        SafeTensors read = SafeTensors.read(file);
        assertEquals(metadata, read.metadata());
        assertEquals(List.copyOf(tensors().keySet()), List.copyOf(read.tensors().keySet()));
        tensors().forEach((name, tensor) -> {
            Tensor other = read.tensors().get(name);
            assertEquals(tensor.spec(), other.spec(), name);
            assertArrayEquals(tensor.toDoubleArray(), other.toDoubleArray(), name);
            assertArrayEquals(tensor.toLongArray(), other.toLongArray(), name);
        });
        assertEquals(0x80000000, Float.floatToRawIntBits(read.tensors().get("f32").toFloatArray()[1]));
        try (Stream<Path> files = Files.list(file.getParent())) {
            assertEquals(List.of(file), files.toList(), "no temporary file is left");
        }
    }

    @Test
    void theLayoutIsThatOfTheFormat() throws IOException {
        Path file = folder.resolve("layout");
        new SafeTensors(Map.of("x", Tensor.of(new float[] {1, -2}, 2, 1)), Map.of("a", "b")).write(file);
        byte[] bytes = Files.readAllBytes(file);
        int length = (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
        assertEquals(0, length % 8);
        assertEquals("{\"__metadata__\":{\"a\":\"b\"},\"x\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]}}",
                new String(bytes, 8, length, StandardCharsets.UTF_8).strip());
        assertArrayEquals(new byte[] {0, 0, (byte) 0x80, 0x3f, 0, 0, 0, (byte) 0xc0}, Arrays.copyOfRange(bytes, 8 + length, bytes.length));
    }

    @Test
    void readsWhatOthersWrite() throws IOException {
        SafeTensors read = SafeTensors.read(write("""
                {"b":{"dtype":"I64","shape":[],"data_offsets":[4,12]},"a":{"shape":[2,1],"data_offsets":[0,4],"dtype":"BF16"},
                 "none":{"dtype":"F32","shape":[3,0],"data_offsets":[12,12]}}\s\s\s""",
                (byte) 0x80, (byte) 0x3f, (byte) 0, (byte) 0xc0, (byte) 5, (byte) 0, (byte) 0, (byte) 0, (byte) 0, (byte) 0, (byte) 0, (byte) 0x80));
        assertArrayEquals(new float[] {1, -2}, read.tensors().get("a").toFloatArray());
        assertEquals(Shape.of(2, 1), read.tensors().get("a").shape());
        assertEquals(5 + Long.MIN_VALUE, read.tensors().get("b").toLongArray()[0]);
        assertEquals(Shape.of(3, 0), read.tensors().get("none").shape());
        assertEquals(Map.of(), read.metadata());
        assertEquals(Map.of(), SafeTensors.read(write("{}")).tensors());
    }

    @Test
    void tensorsTakeMemoryWhenTheyAreAskedFor() throws IOException {
        Path file = folder.resolve("large");
        new SafeTensors(Map.of("a", Tensor.zeros(1000), "b", Tensor.ones(1000)), Map.of()).write(file);
        long before = Buffer.tensorBytes();
        Map<String, Tensor> tensors = SafeTensors.read(file).tensors();
        assertEquals(java.util.Set.of("a", "b"), tensors.keySet());
        assertTrue(tensors.containsKey("a") && !tensors.containsKey("c") && tensors.get("c") == null);
        assertTrue(Buffer.tensorBytes() <= before);
        assertEquals(1000, tensors.get("b").sum().item());
        assertTrue(Buffer.tensorBytes() < before + 8000);
        assertSame(tensors.get("b"), tensors.get("b"));
        new SafeTensors(Map.of("a", Tensor.ones(1)), Map.of()).write(file); // what was opened stays what it was
        assertEquals(1000, tensors.get("a").elements());
        assertThrows(UnsupportedOperationException.class, () -> tensors.put("c", Tensor.of(1f)));
    }

    @Test
    void headersThatLieAreRefused() throws IOException {
        String x = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
        assertEquals(1, SafeTensors.read(write(x, new byte[8])).tensors().size());
        refused(x, 7, "8 bytes", "holds 7");
        refused(x, 9, "9");
        refused(x + "{}", 8, "JSON");
        refused(x.replace("[2]", "[3]"), 8, "12 bytes");
        refused(x.replace("[2]", "[-2]"), 8);
        refused(x.replace("[2]", "[2.0]"), 8, "2.0");
        refused(x.replace("[2]", "[4294967296,4294967296,4]"), 8);
        refused(x.replace("[2]", "[4611686018427387904]"), 8);
        refused(x.replace("[2]", "[99999999999999999999]"), 8);
        refused(x.replace("[2]", "\"two\""), 8);
        refused(x.replace("[2]", "\"scalar\"").replace("[0,8]", "[0,4]"), 4, "scalar");
        refused("{\"__metadata__\":7}", 0, "7");
        refused(x.replace("F32", "F8_E4M3"), 8, "F8_E4M3");
        refused(x.replace("\"F32\"", "3"), 8);
        refused(x.replace("[0,8]", "[8,0]"), 8);
        refused(x.replace("[0,8]", "[-8,0]"), 8);
        refused(x.replace("[0,8]", "[4,12]"), 12);
        refused(x.replace("[0,8]", "[0]"), 8, "data_offsets");
        refused(x.replace("[0,8]", "[0,8,8]"), 8, "data_offsets");
        refused("{\"x\":7}", 8, "x");
        refused("[]", 0, "object");
        refused("  ", 0);
        refused("{\"x\"", 0, "JSON");
        refused("[".repeat(5000), 0, "JSON");
        refused("{\"__metadata__\":{\"a\":1}}", 0, "a");
        String part = "\"shape\":[2],\"data_offsets\":[0,8],\"dtype\":\"F32\"}";
        refused("{\"x\":{" + part + ",\"y\":{" + part + "}", 8, "overlap");
        refused("{\"x\":{" + part + ",\"x\":{" + part + "}", 8, "JSON");
    }

    @Test
    void headerLengthsAreChecked() throws IOException {
        for (long length : new long[] {-1, Long.MIN_VALUE, Long.MAX_VALUE, 0, 1, 9, 100_000_001}) {
            byte[] bytes = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array();
            bytes[8] = '{';
            bytes[9] = '}';
            refused(Files.write(folder.resolve("length"), bytes), Long.toString(length));
        }
    }

    @Test
    void everyTruncationIsRefused() throws IOException {
        Path whole = folder.resolve("whole");
        new SafeTensors(tensors(), Map.of("epoch", "3")).write(whole);
        byte[] bytes = Files.readAllBytes(whole);
        Path cut = folder.resolve("cut");
        for (int length = 0; length < bytes.length; length++) {
            refused(Files.write(cut, Arrays.copyOf(bytes, length)));
        }
        refused(Files.write(cut, Arrays.copyOf(bytes, bytes.length + 1)));
    }

    @Test
    void noDamageToAHeaderCausesAnythingButARefusal() throws IOException {
        Path whole = folder.resolve("whole");
        new SafeTensors(tensors(), Map.of("epoch", "3")).write(whole);
        byte[] bytes = Files.readAllBytes(whole);
        int header = 8 + (int) ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong();
        Path damaged = folder.resolve("damaged");
        int refused = 0;
        for (int i = 0; i < header; i++) {
            for (int bit = 0; bit < 8; bit += 3) {
                bytes[i] ^= (byte) (1 << bit);
                try {
                    SafeTensors.read(Files.write(damaged, bytes)).tensors().values().forEach(Tensor::close);
                } catch (CheckpointException expected) {
                    refused++;
                }
                bytes[i] ^= (byte) (1 << bit);
            }
        }
        assertTrue(refused > header, refused + " of " + 3 * header); // the rest are changed names, say
    }

    @Test
    void aFileThatCannotBeWrittenLeavesWhatWasThere() throws IOException {
        Path file = folder.resolve("kept");
        new SafeTensors(Map.of("x", Tensor.of(1f)), Map.of()).write(file);
        Tensor closed = Tensor.of(2f);
        closed.close();
        assertThrows(IllegalStateException.class, () -> new SafeTensors(Map.of("x", closed), Map.of()).write(file));
        assertEquals(1, SafeTensors.read(file).tensors().get("x").item());
        Path below = file.resolve("file/is/no/folder");
        assertThrows(CheckpointException.class, () -> new SafeTensors(Map.of(), Map.of()).write(below));
        assertThrows(CheckpointException.class, () -> SafeTensors.read(folder));
        assertThrows(CheckpointException.class, () -> SafeTensors.read(folder.resolve("missing")));
        new SafeTensors(Map.of("x", Tensor.of(3f)), Map.of()).write(file);
        assertEquals(3, SafeTensors.read(file).tensors().get("x").item());
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(file), files.toList(), "no temporary file is left");
        }
    }
}
