// The weights inside an ONNX file, under the names that they had before the export.
package dev.heddle.training.weights;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.WireFormat;
import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Spec;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.LazyTensors;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/**
 * Reads the initialisers of a graph; nothing of the graph is run. Exporters fold the transpose of a linear layer's weight and lose
 * its name ({@code onnx::MatMul_787}); it is found again by the graph: what is multiplied by it has a bias added whose name was
 * kept. Such a weight appears as {@code x.weight (out, in)} beside {@code x.bias}, as it was before the export.
 *
 * <p>Needs {@code com.google.protobuf:protobuf-java}.
 */
public final class Onnx {
    // Field numbers of onnx.proto3, by message
    private static final int MODEL_GRAPH = 7;
    private static final int GRAPH_NODE = 1;
    private static final int GRAPH_INITIALIZER = 5;
    private static final int NODE_INPUT = 1;
    private static final int NODE_OUTPUT = 2;
    private static final int NODE_OP_TYPE = 4;
    private static final int TENSOR_DIMS = 1;
    private static final int TENSOR_DATA_TYPE = 2;
    private static final int TENSOR_FLOAT_DATA = 4;
    private static final int TENSOR_INT64_DATA = 7;
    private static final int TENSOR_NAME = 8;
    private static final int TENSOR_RAW_DATA = 9;
    private static final int TENSOR_DOUBLE_DATA = 10;
    private static final int TENSOR_DATA_LOCATION = 14;

    private static final Map<Integer, DType> TYPES = Map.of(1, DType.F32, 2, DType.U8, 6, DType.I32, 7, DType.I64, 9, DType.BOOL,
            10, DType.F16, 11, DType.F64, 16, DType.BF16);
    private static final int MAX_RANK = 16;

    private record Node(String op, List<String> inputs, List<String> outputs) {}

    /** One step into a message, at the tag of a field of it. */
    @FunctionalInterface
    private interface Field {
        void read(int number, int tag) throws IOException;
    }

    private final CodedInputStream in;
    private final List<Node> nodes = new ArrayList<>();
    private final Map<String, Tensor> initialisers = new LinkedHashMap<>();

    private Onnx(CodedInputStream in) {
        this.in = in;
    }

    /**
     * Reads a file.
     *
     * @return tensors by name, in the file's order
     * @throws CheckpointException if it cannot be read or is not what it should be, naming the file and what is wrong
     */
    public static Map<String, Tensor> read(Path file) {
        try (InputStream bytes = Files.newInputStream(file)) {
            long size = Files.size(file);
            if (size > Integer.MAX_VALUE) {
                throw new CheckpointException(file + ": has " + size + " bytes, more than a protobuf message may");
            }
            Onnx onnx = new Onnx(CodedInputStream.newInstance(bytes, 1 << 16));
            onnx.in.pushLimit((int) size); // no length in the file reaches beyond its end
            boolean[] graph = {false};
            onnx.fields((number, tag) -> {
                if (number == MODEL_GRAPH) {
                    onnx.message(tag, onnx::graph);
                    graph[0] = true;
                } else {
                    onnx.in.skipField(tag);
                }
            });
            if (!graph[0]) {
                throw new CheckpointException(file + ": holds no ONNX graph");
            }
            return onnx.named();
        } catch (InvalidProtocolBufferException | ShapeException | ArithmeticException e) {
            throw new CheckpointException(file + ": is no ONNX model: " + e.getMessage(), e);
        } catch (IOException e) {
            throw new CheckpointException(file + ": cannot be read: " + e, e);
        }
    }

    private void fields(Field field) throws IOException {
        for (int tag; (tag = in.readTag()) != 0;) {
            field.read(WireFormat.getTagFieldNumber(tag), tag);
        }
    }

    /** Reads an embedded message. */
    private void message(int tag, Field field) throws IOException {
        int outer = enter(tag);
        fields(field);
        in.popLimit(outer);
    }

    private int enter(int tag) throws IOException {
        requireLengthDelimited(tag);
        return in.pushLimit(in.readRawVarint32());
    }

    private static void requireLengthDelimited(int tag) throws IOException {
        if (WireFormat.getTagWireType(tag) != WireFormat.WIRETYPE_LENGTH_DELIMITED) {
            throw new InvalidProtocolBufferException("field " + WireFormat.getTagFieldNumber(tag) + " is no message, string or bytes");
        }
    }

    private void graph(int number, int tag) throws IOException {
        if (number == GRAPH_NODE) {
            node(tag);
        } else if (number == GRAPH_INITIALIZER) {
            initialiser(tag);
        } else {
            in.skipField(tag);
        }
    }

    private void node(int tag) throws IOException {
        String[] op = {""};
        List<String> inputs = new ArrayList<>();
        List<String> outputs = new ArrayList<>();
        message(tag, (number, t) -> {
            switch (number) {
                case NODE_OP_TYPE -> op[0] = string(t);
                case NODE_INPUT -> inputs.add(string(t));
                case NODE_OUTPUT -> outputs.add(string(t));
                default -> in.skipField(t);
            }
        });
        nodes.add(new Node(op[0], inputs, outputs));
    }

    private String string(int tag) throws IOException {
        requireLengthDelimited(tag);
        return in.readString();
    }

    /** A tensor as it is being read. */
    private static final class Values {
        private String name = "";
        private final List<Long> dims = new ArrayList<>();
        private long type;
        private long location;
        private int field; // that the values came from
        private byte[] bytes = {}; // little-endian
        private final ByteArrayOutputStream single = new ByteArrayOutputStream(); // the same where they come one by one
    }

    private void initialiser(int tag) throws IOException {
        Values values = new Values();
        message(tag, (number, t) -> {
            switch (number) {
                case TENSOR_NAME -> values.name = string(t);
                case TENSOR_DIMS -> numbers(t, values.dims, MAX_RANK);
                case TENSOR_DATA_TYPE -> values.type = in.readInt32();
                case TENSOR_DATA_LOCATION -> values.location = in.readInt32();
                case TENSOR_RAW_DATA, TENSOR_FLOAT_DATA, TENSOR_DOUBLE_DATA, TENSOR_INT64_DATA -> data(values, number, t);
                default -> in.skipField(t);
            }
        });
        if (values.name.isEmpty() || initialisers.containsKey(values.name)) {
            throw new InvalidProtocolBufferException("two initialisers '" + values.name + "', or one without a name");
        }
        initialisers.put(values.name, tensor(values));
    }

    private void numbers(int tag, List<Long> numbers, int most) throws IOException {
        if (WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_VARINT) {
            numbers.add(in.readInt64());
        } else {
            int outer = enter(tag);
            while (in.getBytesUntilLimit() > 0 && numbers.size() <= most) {
                numbers.add(in.readInt64());
            }
            in.skipRawBytes(in.getBytesUntilLimit());
            in.popLimit(outer);
        }
        if (numbers.size() > most) {
            throw new InvalidProtocolBufferException("a tensor of more than " + most + " dimensions");
        }
    }

    /** Values in one of the fields for them: packed, as they are little-endian in the file, or one by one. */
    private void data(Values values, int field, int tag) throws IOException {
        if (values.field != 0 && (values.field != field || field == TENSOR_RAW_DATA)) {
            throw new InvalidProtocolBufferException("initialiser '" + values.name + "' has values twice");
        }
        values.field = field;
        int wire = WireFormat.getTagWireType(tag);
        boolean packed = wire == WireFormat.WIRETYPE_LENGTH_DELIMITED;
        if (packed && field != TENSOR_INT64_DATA && values.bytes.length == 0) {
            values.bytes = in.readByteArray();
        } else if (packed && field == TENSOR_INT64_DATA) {
            int outer = enter(tag);
            while (in.getBytesUntilLimit() > 0) {
                append(values, in.readInt64(), 8);
            }
            in.popLimit(outer);
        } else if (field == TENSOR_INT64_DATA && wire == WireFormat.WIRETYPE_VARINT) {
            append(values, in.readInt64(), 8);
        } else if (field == TENSOR_FLOAT_DATA && wire == WireFormat.WIRETYPE_FIXED32) {
            append(values, in.readRawLittleEndian32(), 4);
        } else if (field == TENSOR_DOUBLE_DATA && wire == WireFormat.WIRETYPE_FIXED64) {
            append(values, in.readRawLittleEndian64(), 8);
        } else {
            throw new InvalidProtocolBufferException("initialiser '" + values.name + "' has values of another kind than field " + field + " holds");
        }
    }

    private static void append(Values values, long bits, int bytes) {
        values.single.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, bits).array(), 0, bytes);
    }

    private static Tensor tensor(Values values) throws IOException {
        String what = "initialiser '" + values.name + "'";
        DType dtype = values.type == (int) values.type ? TYPES.get((int) values.type) : null;
        if (dtype == null) {
            throw new InvalidProtocolBufferException(what + " has data type " + values.type + "; known are " + TYPES.values());
        }
        if (values.location != 0) {
            throw new InvalidProtocolBufferException(what + " lies in another file; only values inside this one are read");
        }
        DType required = switch (values.field) {
            case TENSOR_FLOAT_DATA -> DType.F32;
            case TENSOR_DOUBLE_DATA -> DType.F64;
            case TENSOR_INT64_DATA -> DType.I64;
            default -> dtype;
        };
        byte[] bytes = values.bytes.length > 0 ? values.bytes : values.single.toByteArray();
        long[] dims = values.dims.stream().mapToLong(Long::longValue).toArray();
        Spec spec = new Spec(dtype, Shape.of(dims));
        if (dtype != required || spec.bytes() != bytes.length || values.bytes.length > 0 && values.single.size() > 0) {
            throw new InvalidProtocolBufferException(what + ": " + bytes.length + " bytes of " + required + " for " + spec);
        }
        return Tensor.of(MemorySegment.ofArray(bytes), dtype, dims);
    }

    /** The initialisers, with the names of weights found again. */
    private Map<String, Tensor> named() {
        Map<String, String> products = new HashMap<>(); // from the output of a product to the weight in it
        for (Node node : nodes) {
            if (node.op.equals("MatMul") && node.inputs.size() == 2 && node.outputs.size() == 1) {
                Tensor weight = initialisers.get(node.inputs.get(1));
                if (weight != null && weight.shape().rank() == 2) {
                    products.put(node.outputs.getFirst(), node.inputs.get(1));
                }
            }
        }
        Map<String, Supplier<Tensor>> named = new LinkedHashMap<>();
        initialisers.forEach((name, tensor) -> named.put(name, () -> tensor));
        for (Node node : nodes) {
            if (node.op.equals("Add") && node.inputs.size() == 2) {
                name(named, products.get(node.inputs.get(0)), node.inputs.get(1));
                name(named, products.get(node.inputs.get(1)), node.inputs.get(0));
            }
        }
        return new LazyTensors(named);
    }

    private void name(Map<String, Supplier<Tensor>> named, String weight, String bias) {
        if (weight == null || !bias.endsWith(".bias") || !initialisers.containsKey(bias)) {
            return;
        }
        Tensor transposed = initialisers.get(weight); // (in, out)
        String name = bias.substring(0, bias.length() - "bias".length()) + "weight";
        if (!initialisers.containsKey(name)
                && initialisers.get(bias).shape().equals(Shape.of(transposed.dim(1)))) {
            named.remove(weight);
            named.put(name, transposed::t); // (out, in)
        }
    }
}
