// Files as exporters write them, built with the protobuf library's own writer; and files that lie.
package dev.heddle.training.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.testing.NoLeaks;
import dev.heddle.training.CheckpointException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class OnnxTest {
    @TempDir
    private Path folder;

    @FunctionalInterface
    private interface Content {
        void write(CodedOutputStream out) throws IOException;
    }

    private static byte[] bytes(Content content) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        CodedOutputStream out = CodedOutputStream.newInstance(bytes);
        content.write(out);
        out.flush();
        return bytes.toByteArray();
    }

    private static void message(CodedOutputStream out, int field, Content content) throws IOException {
        out.writeByteArray(field, bytes(content));
    }

    private Path file(Content graph) throws IOException {
        return Files.write(folder.resolve("model.onnx"), bytes(out -> {
            out.writeInt64(1, 8); // ir_version
            out.writeString(2, "test"); // producer_name
            message(out, 7, graph);
            message(out, 8, opset -> opset.writeInt64(2, 17));
        }));
    }

    private static void node(CodedOutputStream out, String op, String result, String... inputs) throws IOException {
        message(out, 1, node -> {
            for (String input : inputs) {
                node.writeString(1, input);
            }
            node.writeString(2, result);
            node.writeString(3, "/" + result);
            node.writeString(4, op);
            message(node, 5, attribute -> attribute.writeString(1, "axis"));
        });
    }

    private static void tensor(CodedOutputStream out, String name, int type, long[] dims, Content values) throws IOException {
        message(out, 5, tensor -> {
            for (long dim : dims) {
                tensor.writeInt64(1, dim);
            }
            tensor.writeInt32(2, type);
            tensor.writeString(8, name);
            values.write(tensor);
        });
    }

    private static byte[] floats(float... values) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
        bytes.asFloatBuffer().put(values);
        return bytes.array();
    }

    private static void raw(CodedOutputStream out, String name, long[] dims, float... values) throws IOException {
        tensor(out, name, 1, dims, t -> t.writeByteArray(9, floats(values)));
    }

    private static long[] dims(long... dims) {
        return dims;
    }

    @Test
    void everyKindOfValuesIsRead() throws IOException {
        Map<String, Tensor> tensors = Onnx.read(file(graph -> {
            raw(graph, "raw", dims(2, 1), 1.5f, -2);
            tensor(graph, "floats", 1, dims(3), t -> t.writeByteArray(4, floats(1, 2, 3)));
            tensor(graph, "single", 1, dims(2), t -> {
                t.writeFloat(4, 7);
                t.writeFloat(4, 8);
            });
            tensor(graph, "longs", 7, dims(3), t -> message(t, 7, packed -> {
                packed.writeInt64NoTag(5);
                packed.writeInt64NoTag(-1);
                packed.writeInt64NoTag(Long.MIN_VALUE);
            }));
            tensor(graph, "scalar", 7, dims(), t -> t.writeInt64(7, 42));
            tensor(graph, "doubles", 11, dims(1), t -> t.writeDouble(10, Math.PI));
            tensor(graph, "half", 10, dims(1), t -> t.writeByteArray(9, new byte[] {0, 0x3e}));
            tensor(graph, "empty", 1, dims(0, 4), t -> t.writeBytes(9, ByteString.EMPTY));
            message(graph, 5, t -> { // packed dims, in another order
                t.writeByteArray(9, floats(1, 2, 3, 4, 5, 6));
                t.writeString(8, "packed");
                t.writeInt32(2, 1);
                t.writeByteArray(1, new byte[] {3, 2});
            });
        }));
        assertEquals(List.of("raw", "floats", "single", "longs", "scalar", "doubles", "half", "empty", "packed"), List.copyOf(tensors.keySet()));
        assertArrayEquals(new float[] {1.5f, -2}, tensors.get("raw").toFloatArray());
        assertEquals(Shape.of(2, 1), tensors.get("raw").shape());
        assertArrayEquals(new float[] {1, 2, 3}, tensors.get("floats").toFloatArray());
        assertArrayEquals(new float[] {7, 8}, tensors.get("single").toFloatArray());
        assertArrayEquals(new long[] {5, -1, Long.MIN_VALUE}, tensors.get("longs").toLongArray());
        assertArrayEquals(new long[] {42}, tensors.get("scalar").toLongArray());
        assertEquals(Shape.SCALAR, tensors.get("scalar").shape());
        assertArrayEquals(new double[] {Math.PI}, tensors.get("doubles").toDoubleArray());
        assertEquals(DType.F16, tensors.get("half").dtype());
        assertArrayEquals(new double[] {1.5}, tensors.get("half").toDoubleArray());
        assertEquals(Shape.of(0, 4), tensors.get("empty").shape());
        assertEquals(Shape.of(3, 2), tensors.get("packed").shape());
    }

    @Test
    void namesThatTheExportLostAreFoundAgain() throws IOException {
        Map<String, Tensor> tensors = Onnx.read(file(graph -> {
            node(graph, "MatMul", "a", "x", "onnx::MatMul_7");
            node(graph, "Add", "b", "first.bias", "a"); // the bias on either side
            node(graph, "MatMul", "c", "b", "onnx::MatMul_8");
            node(graph, "Add", "d", "c", "second.bias");
            node(graph, "MatMul", "e", "d", "d"); // no weight
            node(graph, "MatMul", "f", "e", "kept.weight");
            node(graph, "Add", "g", "f", "kept.bias");
            node(graph, "MatMul", "h", "g", "unbiased");
            raw(graph, "first.bias", dims(3), 0, 0, 0);
            raw(graph, "second.bias", dims(2), 0, 0);
            raw(graph, "kept.bias", dims(1), 0);
            raw(graph, "onnx::MatMul_8", dims(3, 2), 1, 2, 3, 4, 5, 6);
            raw(graph, "onnx::MatMul_7", dims(2, 3), 1, 2, 3, 4, 5, 6);
            raw(graph, "kept.weight", dims(2, 1), 1, 2);
            raw(graph, "unbiased", dims(1, 1), 1);
        }));
        assertEquals(Shape.of(3, 2), tensors.get("first.weight").shape());
        assertArrayEquals(new float[] {1, 4, 2, 5, 3, 6}, tensors.get("first.weight").toFloatArray());
        assertArrayEquals(new float[] {1, 3, 5, 2, 4, 6}, tensors.get("second.weight").toFloatArray());
        assertEquals(Shape.of(2, 1), tensors.get("kept.weight").shape());
        assertEquals(Shape.of(1, 1), tensors.get("unbiased").shape());
        assertEquals(7, tensors.size());
    }

    private void refused(String word, Content graph) throws IOException {
        String message = assertThrows(CheckpointException.class, () -> Onnx.read(file(graph))).getMessage();
        assertTrue(message.contains("model.onnx") && message.contains(word), message);
    }

    @Test
    void valuesThatAreNotWhatTheyShouldBeAreRefused() throws IOException {
        refused("12 bytes", g -> raw(g, "x", dims(2), 1, 2, 3));
        refused("elements", g -> raw(g, "x", dims(1L << 31, 1L << 31, 1L << 31), 1));
        refused("", g -> raw(g, "x", dims(1L << 62), 1));
        refused("", g -> raw(g, "x", dims(-1), 1));
        refused("dimensions", g -> raw(g, "x", new long[17], 1));
        refused("dimensions", g -> message(g, 5, t -> t.writeByteArray(1, new byte[1 << 20])));
        refused("twice", g -> tensor(g, "x", 1, dims(1), t -> {
            t.writeByteArray(9, floats(1));
            t.writeByteArray(9, floats(1));
        }));
        refused("twice", g -> tensor(g, "x", 1, dims(1), t -> {
            t.writeFloat(4, 1);
            t.writeByteArray(9, floats(1));
        }));
        refused("I64", g -> tensor(g, "x", 1, dims(2), t -> t.writeInt64(7, 1)));
        refused("data type 8", g -> tensor(g, "x", 8, dims(1), t -> t.writeString(6, "text")));
        refused("another file", g -> tensor(g, "x", 1, dims(1), t -> t.writeInt32(14, 1)));
        refused("two initialisers 'x'", g -> {
            raw(g, "x", dims(1), 1);
            raw(g, "x", dims(1), 1);
        });
        refused("without a name", g -> raw(g, "", dims(1), 1));
        Path empty = Files.write(folder.resolve("empty.onnx"), new byte[0]);
        assertTrue(assertThrows(CheckpointException.class, () -> Onnx.read(empty)).getMessage().contains("no ONNX graph"));
    }

    @Test
    void lengthsBeyondTheFileTakeNoMemory() throws IOException {
        for (int field : new int[] {5, 1, 2}) { // a graph that ends in a tensor, a node, a name said to be large
            byte[] graph = bytes(out -> {
                out.writeTag(field, 2);
                out.writeUInt32NoTag(Integer.MAX_VALUE - 100);
            });
            byte[] model = bytes(out -> {
                out.writeTag(7, 2);
                out.writeUInt32NoTag(Integer.MAX_VALUE - 50);
            });
            byte[] honest = bytes(out -> out.writeByteArray(7, graph));
            for (byte[] content : new byte[][] {honest, model, concat(model, graph)}) {
                Path file = Files.write(folder.resolve("lies.onnx"), content);
                assertThrows(CheckpointException.class, () -> Onnx.read(file));
            }
        }
        assertThrows(CheckpointException.class, () -> Onnx.read(folder));
        assertThrows(CheckpointException.class, () -> Onnx.read(folder.resolve("missing")));
    }

    private static byte[] concat(byte[] a, byte[] b) {
        byte[] both = Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, both, a.length, b.length);
        return both;
    }

    @Test
    void noDamageCausesAnythingButARefusal() throws IOException {
        byte[] bytes = Files.readAllBytes(file(graph -> {
            node(graph, "MatMul", "a", "x", "onnx::MatMul_7");
            node(graph, "Add", "b", "first.bias", "a");
            raw(graph, "first.bias", dims(3), 0, 0, 0);
            raw(graph, "onnx::MatMul_7", dims(2, 3), 1, 2, 3, 4, 5, 6);
            tensor(graph, "longs", 7, dims(2), t -> message(t, 7, packed -> {
                packed.writeInt64NoTag(5);
                packed.writeInt64NoTag(-1);
            }));
        }));
        Path damaged = folder.resolve("damaged.onnx");
        int refused = 0;
        for (int i = 0; i < bytes.length; i++) {
            for (int bit = 0; bit < 8; bit++) {
                bytes[i] ^= (byte) (1 << bit);
                try {
                    Onnx.read(Files.write(damaged, bytes)).values().forEach(Tensor::shape);
                } catch (CheckpointException expected) {
                    refused++;
                }
                bytes[i] ^= (byte) (1 << bit);
            }
        }
        assertTrue(refused > bytes.length, refused + " of " + 8 * bytes.length); // the rest are changed names and values, say
        for (int length = 0; length < bytes.length - 4; length++) { // the last field is one that may be missing
            Path cut = Files.write(damaged, Arrays.copyOf(bytes, length));
            if (length > 8) {
                assertThrows(CheckpointException.class, () -> Onnx.read(cut), length + " bytes");
            }
        }
    }
}
