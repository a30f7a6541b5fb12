// The op families whose kernels are files of cuda-src: launches with the right geometry.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Window;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import dev.heddle.engine.plan.Step.Operand;
import java.util.ArrayList;
import java.util.List;

/** Launches of hand-written kernels; operands are contiguous unless a method says otherwise. */
final class Kernels {
    private static final int THREADS = 256;
    private static final int RUN = 1024; // elements that sort_runs sorts at once
    private static final int ROWS_LEAST = 8; // places of an axis that a block of scatter_add_slices owns at least
    private static final int SPATIAL = 3;
    private static final int LEADING = 4; // leading axes that matmul.cu walks

    private final CudaDevice device;
    private final CudaModules modules;
    private final long error; // address of the two words that index.cu reports through

    Kernels(CudaDevice device, CudaModules modules, long error) {
        this.device = device;
        this.modules = modules;
        this.error = error;
    }

    private Launch.Builder launch(String file, String name, DType dtype, String... defines) {
        StringBuilder source = new StringBuilder("#define DTYPE ").append(ExpressionSource.stored(dtype)).append('\n');
        for (String define : defines) {
            source.append("#define ").append(define).append('\n');
        }
        return Launch.of(device, modules.function(source + CudaModules.file(file), name), name);
    }

    private static long blocks(long threads) {
        return (threads + THREADS - 1) / THREADS;
    }

    private static Kernel nothing() {
        return addresses -> { };
    }

    /** Kernels one behind the other, on the same operands; each may use the whole workspace. */
    record Sequence(List<Kernel> kernels, long workspaceBytes) implements Kernel {
        static Kernel of(List<? extends Kernel> kernels) {
            return new Sequence(List.copyOf(kernels), kernels.stream().mapToLong(Kernel::workspaceBytes).max().orElse(0));
        }

        @Override
        public void run(long[] addresses) {
            for (Kernel kernel : kernels) {
                kernel.run(addresses);
            }
        }
    }

    // ---- random

    Kernel random(Random op) {
        long elements = op.shape().elements();
        if (elements == 0) {
            return nothing();
        }
        String name = op.distribution() == Random.Distribution.UNIFORM ? "random_uniform" : "random_normal";
        return launch("random.cu", name, op.dtype()).pointer(2).pointer(0).pointer(1).value(elements)
                .grid(blocks(Random.blocks(elements)), 1, 1).build();
    }

    // ---- copies

    /** Each input, of any strides, into its part of the output. */
    Kernel concat(Movement.Concat op, Step step) {
        List<Kernel> copies = new ArrayList<>();
        long start = 0;
        Layout out = step.outputLayouts().getFirst();
        int n = step.inputs().size();
        for (int k = 0; k < n; k++) {
            Layout in = step.inputLayouts().get(k);
            copies.add(copyInto(in, k, part(out, op.axis(), start, in.shape()), n));
            start += in.shape().dim(op.axis());
        }
        return Sequence.of(copies);
    }

    private static Layout part(Layout out, int axis, long start, Shape shape) {
        return new Layout(out.dtype(), shape, out.strides(), out.offset() + start * out.stride(axis));
    }

    /** Copies operand {@code from} into a part of operand {@code to}, whose address is that of the whole. */
    private Kernel copyInto(Layout in, int from, Layout part, int to) {
        Step copy = new Step(Elementwise.of(new Expr.Input(0, in.dtype())), null, Step.Epilogue.NONE, List.of(new Operand(0, in)),
                List.of(new Operand(1, part)), 0);
        Kernel kernel = ElementwiseKernels.of(device, modules, copy);
        long[] moved = new long[2];
        return addresses -> {
            moved[0] = addresses[from];
            moved[1] = addresses[to] + part.byteOffset();
            kernel.run(moved);
        };
    }

    /** The value everywhere, then the input in its place. */
    Kernel pad(Movement.Pad op, Step step) {
        Layout out = step.outputLayouts().getFirst();
        Layout in = step.inputLayouts().getFirst();
        Step fill = new Step(Elementwise.of(Expr.constant(op.value(), out.dtype())), null, Step.Epilogue.NONE, List.of(),
                List.of(new Operand(0, out)), 0);
        Kernel filled = ElementwiseKernels.of(device, modules, fill);
        long offset = 0;
        for (int i = 0; i < in.shape().rank(); i++) {
            offset += op.before().get(i) * out.stride(i);
        }
        Kernel copied = copyInto(in, 0, new Layout(out.dtype(), in.shape(), out.strides(), offset), 1);
        long[] target = new long[1];
        return addresses -> {
            target[0] = addresses[1];
            filled.run(target);
            copied.run(addresses);
        };
    }

    // ---- index

    private record IndexShape(long outer, long extent, long inner, long count) {
        static IndexShape of(int axis, boolean slices, Layout x, Layout index) {
            Shape around = slices ? x.shape() : index.shape();
            long outer = 1;
            long inner = 1;
            for (int i = 0; i < x.shape().rank(); i++) {
                outer *= i < axis ? around.dim(i) : 1;
                inner *= i > axis ? around.dim(i) : 1;
            }
            return new IndexShape(outer, x.shape().dim(axis), inner, slices ? index.shape().elements() : index.shape().dim(axis));
        }
    }

    private static String index(Layout index) {
        return "INDEX " + (index.dtype() == DType.I64 ? "int64_t" : "int32_t");
    }

    Kernel gather(Gather op, Layout x, Layout index, Layout out) {
        boolean slices = op instanceof Gather.Slices;
        IndexShape s = IndexShape.of(op.axis(), slices, x, index);
        long elements = out.shape().elements();
        if (elements == 0) {
            return nothing();
        }
        if (isEmbedding(slices, s, x.dtype())) {
            String name = "embedding_forward_" + (index.dtype() == DType.I64 ? "" : "i32_") + ExpressionSource.stored(x.dtype());
            return embedding(name).pointer(2).pointer(0).pointer(1).value(s.count).value(s.extent).value((int) s.inner).value(error)
                    .grid(Math.min(blocks(elements), 4L * device.multiprocessors), 1, 1).build();
        }
        return launch("index.cu", slices ? "gather_slices" : "gather_elements", x.dtype(), index(index)).pointer(2).pointer(0).pointer(1)
                .value(error).value(elements).value(s.extent).value(s.inner).value(s.count).grid(blocks(elements), 1, 1).build();
    }

    /** Adds to what the output holds. */
    Kernel scatter(Scatter op, Layout x, Layout index, Layout out) {
        boolean slices = op instanceof Scatter.AddSlices;
        IndexShape s = IndexShape.of(op.axis(), slices, x, index);
        if (out.shape().elements() == 0 || index.shape().elements() == 0) {
            return nothing();
        }
        if (isEmbedding(slices, s, x.dtype())) {
            return embeddingBackward(s, x.dtype(), index.dtype());
        }
        String wraps = x.dtype().isInteger() ? "WRAPS" : "ROUNDS";
        Launch.Builder add = launch("index.cu", slices ? "scatter_add_slices" : "scatter_add_elements", x.dtype(), index(index), wraps)
                .pointer(3).pointer(1).pointer(2).value(error);
        if (slices) {
            long rows = Math.max(ROWS_LEAST, (s.extent + device.multiprocessors * 8L - 1) / (device.multiprocessors * 8L));
            add.value(s.extent).value(s.inner).value(s.count).value(rows).grid((s.extent + rows - 1) / rows, s.outer, 1);
        } else {
            add.value(s.outer * s.inner).value(s.extent).value(s.inner).value(s.count).grid(blocks(s.outer * s.inner), 1, 1);
        }
        return add.build();
    }

    // ---- rows of a table by index, as embeddings are

    private static boolean isEmbedding(boolean slices, IndexShape s, DType dtype) {
        return slices && s.outer == 1 && (dtype == DType.F32 || dtype == DType.BF16 || dtype == DType.F16)
                && s.inner <= Integer.MAX_VALUE && s.extent < 0xffffffffL && s.count <= 0xffffffffL;
    }

    private Launch.Builder embedding(String name) {
        return Launch.of(device, modules.function(CudaModules.file("embedding.cu"), name), name);
    }

    /** Sorts the indices, then adds the rows of each; operands as of a scatter. */
    private Kernel embeddingBackward(IndexShape s, DType dtype, DType index) {
        long keys = align(8 * s.count);
        long partials = 2 * keys; // behind two buffers of keys, two rows for each 32 keys
        int columns = (int) s.inner;
        int workspace = 4;
        List<Kernel> kernels = new ArrayList<>();
        kernels.add(embedding("embedding_sort_" + (index == DType.I64 ? "i64" : "i32")).pointer(workspace).pointer(1).value(s.count)
                .value(s.extent).value(error).block(512, 1).grid((s.count + RUN - 1) / RUN, 1, 1)
                .workspace(partials + 8L * columns * ((s.count + 31) / 32)).build());
        int from = 0;
        for (long run = RUN; run < s.count; run *= 2, from = 1 - from) {
            kernels.add(embedding("embedding_merge").pointer(workspace, (1 - from) * keys).pointer(workspace, from * keys).value(s.count)
                    .value(run).grid(blocks(s.count), 1, 1).build());
        }
        long columnBlocks = Math.min(1024, (s.inner + THREADS - 1) / THREADS);
        String name = "embedding_backward_";
        kernels.add(embedding(name + ExpressionSource.stored(dtype)).pointer(3).pointer(workspace, partials).pointer(workspace, from * keys)
                .pointer(2).value(s.count).value(columns).block(32, 4).grid((s.count + 127) / 128, columnBlocks, 1).build());
        kernels.add(embedding(name + "across_" + ExpressionSource.stored(dtype)).pointer(3).pointer(workspace, partials)
                .pointer(workspace, from * keys).value(s.count).value(columns).block(32, 4)
                .grid((s.count + 127) / 128, columnBlocks, 1).build());
        return Sequence.of(kernels);
    }

    // ---- sort

    Kernel sort(Sort op, Layout x) {
        long extent = x.shape().dim(op.axis());
        long inner = 1;
        for (int i = op.axis() + 1; i < x.shape().rank(); i++) {
            inner *= x.shape().dim(i);
        }
        if (x.shape().elements() == 0 || op.k() == 0) {
            return nothing();
        }
        long lanes = x.shape().elements() / extent;
        long keys = align(8 * x.shape().elements());
        long places = align(4 * x.shape().elements());
        List<Kernel> kernels = new ArrayList<>();
        int workspace = 3;
        kernels.add(launch("sort.cu", "sort_runs", x.dtype()).pointer(workspace).pointer(workspace, 2 * keys).pointer(0).value(extent)
                .value(inner).value(op.descending() ? 1 : 0).grid((extent + RUN - 1) / RUN, lanes, 1).workspace(2 * (keys + places)).build());
        int from = 0;
        for (long width = RUN; width < extent; width *= 2, from = 1 - from) {
            int to = 1 - from;
            kernels.add(launch("sort.cu", "merge_runs", x.dtype()).pointer(workspace, to * keys).pointer(workspace, 2 * keys + to * places)
                    .pointer(workspace, from * keys).pointer(workspace, 2 * keys + from * places).value(extent).value(width)
                    .grid(blocks(extent), lanes, 1).build());
        }
        long elements = lanes * op.k();
        kernels.add(launch("sort.cu", "sorted", x.dtype()).pointer(1).pointer(2).pointer(0).pointer(workspace, 2 * keys + from * places)
                .value(elements).value(extent).value(inner).value(op.k()).grid(blocks(elements), 1, 1).build());
        return Sequence.of(kernels);
    }

    private static long align(long bytes) {
        return (bytes + 255) & -256;
    }

    // ---- pooling, of any strides

    private static void spatial(Launch.Struct g, long[] values, long missing) {
        for (int i = 0; i < SPATIAL; i++) {
            g.add(i < SPATIAL - values.length ? missing : values[i - (SPATIAL - values.length)]);
        }
    }

    private static long[] longs(List<Integer> values) {
        return values.stream().mapToLong(v -> v).toArray();
    }

    private static long[] spatialDims(Shape shape) {
        return java.util.Arrays.copyOfRange(shape.dims(), 2, shape.rank());
    }

    private static void strides(Launch.Struct g, Layout layout) {
        g.add(layout.stride(0)).add(layout.stride(1));
        spatial(g, java.util.Arrays.copyOfRange(layout.strides(), 2, layout.shape().rank()), 0);
    }

    Kernel pooling(Pooling op, List<Layout> in, Layout out) {
        boolean backward = op.direction() == Pooling.Direction.BACKWARD;
        Layout x = backward ? out : in.getFirst();
        Layout y = backward ? in.getLast() : out;
        if (out.shape().elements() == 0) {
            return nothing();
        }
        Window w = op.window();
        Launch.Struct g = new Launch.Struct().add(x.shape().dim(1));
        spatial(g, spatialDims(x.shape()), 1);
        spatial(g, spatialDims(y.shape()), 1);
        spatial(g, longs(op.kernel()), 1);
        spatial(g, longs(w.stride()), 1);
        spatial(g, longs(w.before()), 0);
        spatial(g, longs(w.after()), 0);
        spatial(g, longs(w.dilation()), 1);
        strides(g, x);
        strides(g, y);
        g.add(op.countPadding() ? 1 : 0);
        boolean max = op.kind() == Pooling.Kind.MAX;
        String name = (max ? "max_pool" : "avg_pool") + switch (op.direction()) {
            case FORWARD -> "";
            case BACKWARD -> "_backward";
            case GATHER -> "_gather";
        };
        Launch.Builder launch = launch("pooling.cu", name, out.dtype()).pointer(in.size());
        for (int k = 0; k < in.size(); k++) {
            launch.pointer(k);
        }
        return launch.value(out.shape().elements()).struct(g).grid(blocks(out.shape().elements()), 1, 1).build();
    }

    // ---- convolution and products of any strides, where the vendor's libraries do not serve

    Kernel convolution(Convolution op, List<Layout> in, Layout out) {
        if (out.shape().elements() == 0) {
            return nothing();
        }
        Layout x = op.direction() == Convolution.Direction.BACKWARD_DATA ? out : in.get(0);
        Layout y = op.direction() == Convolution.Direction.FORWARD ? out
                : in.get(op.direction() == Convolution.Direction.BACKWARD_DATA ? 0 : 1);
        Layout w = op.direction() == Convolution.Direction.BACKWARD_WEIGHTS ? out : in.get(1);
        Launch.Struct g = new Launch.Struct().add(x.shape().dim(0)).add(x.shape().dim(1)).add(y.shape().dim(1)).add(op.groups());
        spatial(g, spatialDims(x.shape()), 1);
        spatial(g, spatialDims(y.shape()), 1);
        spatial(g, spatialDims(w.shape()), 1);
        spatial(g, longs(op.window().stride()), 1);
        spatial(g, longs(op.window().before()), 0);
        spatial(g, longs(op.window().dilation()), 1);
        strides(g, x);
        strides(g, y);
        strides(g, w);
        long elements = out.shape().elements();
        return switch (op.direction()) {
            case FORWARD -> launch("convolution.cu", "convolution_forward", out.dtype()).pointer(2).pointer(0).pointer(1).value(elements)
                    .struct(g).grid(blocks(elements), 1, 1).build();
            case BACKWARD_DATA -> launch("convolution.cu", "convolution_backward_data", out.dtype()).pointer(2).pointer(0).pointer(1)
                    .value(elements).struct(g).grid(blocks(elements), 1, 1).build();
            case BACKWARD_WEIGHTS -> launch("convolution.cu", "convolution_backward_weights", out.dtype()).pointer(2).pointer(0).pointer(1)
                    .struct(g).grid(elements, 1, 1).build();
        };
    }

    /** Operands of any strides, with up to four leading axes after neighbours are joined. */
    Kernel matmul(Layout a, Layout b, Layout out) {
        int rank = out.shape().rank();
        if (out.shape().elements() == 0) {
            return nothing();
        }
        Shape leading = MatMul.leading(out.shape());
        Axes batch = Axes.of(leading, java.util.stream.IntStream.range(0, rank - 2).boxed().toList(),
                List.of(leading(a, leading), leading(b, leading)), -1);
        if (batch.rank() > LEADING) {
            throw new CudaException("matmul: " + a + " x " + b + ": more than " + LEADING + " leading axes that do not join");
        }
        long m = out.shape().dim(-2);
        long n = out.shape().dim(-1);
        Launch.Struct g = new Launch.Struct().add(m).add(n).add(a.shape().dim(-1));
        for (List<Long> values : List.of(batch.extents(), batch.strides().get(0), batch.strides().get(1))) {
            for (int i = 0; i < LEADING; i++) {
                int from = i - (LEADING - batch.rank());
                g.add(from >= 0 ? values.get(from) : values == batch.extents() ? 1 : 0);
            }
        }
        int ar = a.shape().rank();
        int br = b.shape().rank();
        g.add(a.stride(ar - 2)).add(a.stride(ar - 1)).add(b.stride(br - 2)).add(b.stride(br - 1));
        return launch("matmul.cu", "matmul", out.dtype()).pointer(2).pointer(0).pointer(1).struct(g)
                .grid((n + 31) / 32, (m + 31) / 32, leading.elements()).block(32, 8).build();
    }

    private static Layout leading(Layout x, Shape to) {
        int rank = x.shape().rank() - 2;
        return new Layout(x.dtype(), MatMul.leading(x.shape()), java.util.Arrays.copyOf(x.strides(), rank), 0).expand(to);
    }
}
