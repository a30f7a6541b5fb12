// Reductions on CUDA, with the expression that is reduced computed along the way. The order in which elements are combined
// follows from shapes and strides alone: no atomics, so the same bits every time.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Two ways to share the work. Along rows: a team of 32 or 256 threads reduces one result, neighbours reading neighbours, and
 * combines by shuffles. Across columns: a warp reads 32 neighbouring columns, eight warps share the rows of a block. If there
 * are too few results to fill the device, each is cut into parts, which a second kernel combines in order. 16-bit floats
 * are accumulated in f32, integers and truth values in i64.
 */
final class ReduceKernels {
    private static final int THREADS = 256;
    private static final int WARP = 32;
    private static final int LONG_ROW = 2048; // elements from which on a whole block shares a row
    private static final int LEAST_PART = 2048; // elements of a part
    private static final int MOST_PARTS = 256;

    private final CudaDevice device;
    private final CudaModules modules;
    private final Reduce.Kind kind;
    private final boolean arg;
    private final DType accumulator;
    private final Expr prologue;
    private final List<Layout> layouts; // inputs, then the output expanded to the same rank
    private final int inputs;
    private final Axes kept;
    private final Axes reduced;
    private final long results;
    private final long length;
    private final boolean small;

    private ReduceKernels(CudaDevice device, CudaModules modules, Step step) {
        this.device = device;
        this.modules = modules;
        Reduce op = (Reduce) step.op();
        kind = op.kind();
        arg = kind == Reduce.Kind.ARGMAX || kind == Reduce.Kind.ARGMIN;
        List<Layout> in = step.inputLayouts();
        Shape shape = in.getFirst().shape();
        Expr value = step.prologue() != null ? step.prologue() : new Expr.Input(0, in.getFirst().dtype());
        accumulator = value.dtype().isFloat() ? value.dtype().computeType() : DType.I64;
        prologue = value.cast(accumulator);
        inputs = in.size();
        layouts = new ArrayList<>(in);
        layouts.add(step.outputLayouts().getFirst());
        List<Integer> keptAxes = IntStream.range(0, shape.rank()).filter(i -> !op.axes().contains(i)).boxed().toList();
        int leading = IntStream.range(0, inputs).filter(k -> IntStream.range(0, shape.rank()).anyMatch(i -> in.get(0).stride(i) != 0)).findFirst()
                .orElse(0);
        kept = Axes.of(shape, keptAxes, layouts, leading);
        reduced = Axes.of(shape, op.axes(), layouts, arg ? -1 : leading);
        results = kept.elements();
        length = reduced.elements();
        small = KernelText.small(layouts);
    }

    /** The kernel of a reduction. */
    static Kernel of(CudaDevice device, CudaModules modules, Step step) {
        return new ReduceKernels(device, modules, step).kernel();
    }

    private Kernel kernel() {
        if (results == 0) {
            return addresses -> { };
        }
        boolean rows = IntStream.range(0, inputs).anyMatch(k -> reduced.innermost(k) == 1)
                || IntStream.range(0, inputs).noneMatch(k -> kept.innermost(k) == 1);
        int team = !rows ? 1 : length > LONG_ROW ? THREADS : WARP;
        long threads = rows ? results * team : (results + WARP - 1) / WARP * THREADS;
        long wanted = (long) device.multiprocessors * 2048 / Math.max(1, threads);
        long parts = Math.max(1, Math.min(Math.min(wanted, length / LEAST_PART), MOST_PARTS));
        if (parts == 1) {
            return launch(rows, team, 1, inputs + 1).build();
        }
        Launch first = launch(rows, team, parts, inputs + 1).workspace(parts * results * accumulatorBytes()).build();
        Launch second = combine(parts);
        return Kernels.Sequence.of(List.of(first, second));
    }

    private int accumulatorBytes() {
        return arg ? 16 : accumulator.bytes();
    }

    // ---- source

    private StringBuilder file() {
        String type = ExpressionSource.computed(accumulator);
        StringBuilder source = KernelText.file(small);
        source.append("typedef ").append(type).append(" value_t;\n");
        if (arg) {
            String beats = kind == Reduce.Kind.ARGMAX ? ">" : "<";
            source.append("""
                    struct Accumulator { value_t value; i64 place; };
                    static __device__ __forceinline__ bool is_nan(value_t x) { return x != x; }
                    static __device__ __forceinline__ Accumulator start() { Accumulator a; a.value = value_t(0); a.place = -1; return a; }
                    static __device__ __forceinline__ bool first_wins(Accumulator a, Accumulator b) {
                        if (b.place < 0) { return true; }
                        if (a.place < 0) { return false; }
                        if (is_nan(a.value) || is_nan(b.value)) {
                            return is_nan(a.value) && (!is_nan(b.value) || a.place < b.place);
                        }
                        return a.value BEATS b.value || (a.value == b.value && a.place < b.place);
                    }
                    static __device__ __forceinline__ Accumulator combine(Accumulator a, Accumulator b) { return first_wins(a, b) ? a : b; }
                    static __device__ __forceinline__ Accumulator shuffle(Accumulator a, int mask) {
                        Accumulator b;
                        b.value = __shfl_xor_sync(ALL_LANES, a.value, mask);
                        b.place = __shfl_xor_sync(ALL_LANES, a.place, mask);
                        return b;
                    }
                    """.replace("BEATS", beats));
        } else {
            source.append("typedef value_t Accumulator;\n")
                    .append("static __device__ __forceinline__ Accumulator start() { return ").append(identity()).append("; }\n")
                    .append("static __device__ __forceinline__ Accumulator combine(Accumulator a, Accumulator b) { return ")
                    .append(switch (kind) {
                        case SUM, MEAN -> accumulator == DType.I64 ? "wrap_add(a, b)" : "a + b";
                        case PROD -> accumulator == DType.I64 ? "wrap_mul(a, b)" : "a * b";
                        case MAX -> "maximum(a, b)";
                        case MIN -> "minimum(a, b)";
                        case ARGMAX, ARGMIN -> throw new IllegalStateException();
                    }).append("; }\n")
                    .append("static __device__ __forceinline__ Accumulator shuffle(Accumulator a, int mask) ")
                    .append("{ return __shfl_xor_sync(ALL_LANES, a, mask); }\n");
        }
        return source;
    }

    private String identity() {
        return switch (kind) {
            case SUM, MEAN -> "value_t(0)";
            case PROD -> "value_t(1)";
            case MAX -> accumulator == DType.I64 ? "(-0x7fffffffffffffffll - 1)" : "value_t(-infinity())";
            case MIN -> accumulator == DType.I64 ? "0x7fffffffffffffffll" : "value_t(infinity())";
            case ARGMAX, ARGMIN -> throw new IllegalStateException();
        };
    }

    /** Stores a result, or the result of a part. */
    private String store(long parts, KernelText text, String indent) {
        if (parts > 1) {
            return indent + "partial[blockIdx.y * results + o] = a;\n";
        }
        List<String> offsets = new ArrayList<>();
        for (int k = 0; k < inputs; k++) {
            offsets.add(null);
        }
        offsets.add("to");
        return indent + "index_t to = 0;\n" + text.walk(kept, "w", "o", 1, offsets, small, indent)
                + indent + "y[to] = " + finished() + ";\n";
    }

    private String finished() {
        String type = ExpressionSource.stored(layouts.getLast().dtype());
        return arg ? "a.place" : kind == Reduce.Kind.MEAN ? "narrow<" + type + ">(a / value_t(length))" : "narrow<" + type + ">("
                + (layouts.getLast().dtype() == DType.I64 ? "a" : "static_cast<" + ExpressionSource.computed(layouts.getLast().dtype()) + ">(a)") + ")";
    }

    private Launch.Builder launch(boolean rows, int team, long parts, int workspace) {
        KernelText text = new KernelText();
        List<Expr.Input> used = new ArrayList<>();
        ExpressionSource.inputs(prologue, used);
        for (Expr.Input in : used) {
            text.pointer("const " + ExpressionSource.stored(in.dtype()), "x" + in.index(), in.index());
        }
        if (parts > 1) {
            text.pointer("Accumulator", "partial", workspace);
        } else {
            text.pointer(ExpressionSource.stored(layouts.getLast().dtype()), "y", inputs);
        }
        int vector = rows && !arg ? vector(used) : 1;
        long groups = length / vector;
        long part = (groups + parts - 1) / parts;
        text.index("results", results, small);
        text.index("groups", groups, small);
        text.index("part", part, small);
        text.number("length", length);

        List<String> bases = new ArrayList<>();
        List<String> offsets = new ArrayList<>();
        for (int k = 0; k <= inputs; k++) {
            int operand = k;
            boolean reads = k < inputs && used.stream().anyMatch(in -> in.index() == operand);
            bases.add(reads ? "base" + k : null);
            offsets.add(reads ? "at" + k : null);
        }
        StringBuilder source = file();
        source.append(element(text, used));
        StringBuilder body = new StringBuilder();
        if (rows) {
            body.append("    const int lane = threadIdx.x % ").append(team).append(";\n");
            body.append("    const index_t o = static_cast<index_t>(blockIdx.x) * ").append(THREADS / team).append(" + threadIdx.x / ")
                    .append(team).append(";\n");
            body.append("    if (o >= results) {\n        return;\n    }\n"); // whole teams only
        } else {
            body.append("    const int lane = threadIdx.y;\n");
            body.append("    const index_t column = static_cast<index_t>(blockIdx.x) * 32 + threadIdx.x;\n");
            body.append("    const index_t o = column < results ? column : results - 1;\n");
        }
        bases.stream().filter(b -> b != null).forEach(b -> body.append("    index_t ").append(b).append(" = 0;\n"));
        body.append(text.walk(kept, "k", "o", 1, bases, small, "    "));
        body.append("    Accumulator a = start();\n");
        body.append("    const index_t first = blockIdx.y * part;\n");
        body.append("    const index_t end = first + part < groups ? first + part : groups;\n");
        body.append("    for (index_t g = first + lane; g < end; g += ").append(rows ? team : THREADS / WARP).append(") {\n");
        for (Expr.Input in : used) {
            body.append("        index_t at").append(in.index()).append(" = base").append(in.index()).append(";\n");
        }
        body.append(text.walk(reduced, "r", "g", vector, offsets, small, "        "));
        body.append(vector > 1 ? vectorLoop(text, used, vector) : "        a = combine(a, element(" + loads(used) + literals(text) + "));\n");
        body.append("    }\n");
        if (rows) {
            body.append("#pragma unroll\n    for (int mask = 16; mask > 0; mask /= 2) {\n        a = combine(a, shuffle(a, mask));\n    }\n");
            if (team == THREADS) {
                body.append("""
                            __shared__ Accumulator of_warp[8];
                            if (lane % 32 == 0) {
                                of_warp[lane / 32] = a;
                            }
                            __syncthreads();
                            if (lane != 0) {
                                return;
                            }
                            for (int w = 1; w < 8; w++) {
                                a = combine(a, of_warp[w]);
                            }
                        """);
            } else {
                body.append("    if (lane != 0) {\n        return;\n    }\n");
            }
        } else {
            body.append("""
                        __shared__ Accumulator of_row[8][32];
                        of_row[threadIdx.y][threadIdx.x] = a;
                        __syncthreads();
                        if (threadIdx.y != 0 || column >= results) {
                            return;
                        }
                        for (int w = 1; w < 8; w++) {
                            a = combine(a, of_row[w][threadIdx.x]);
                        }
                    """);
        }
        body.append(store(parts, text, "    "));
        source.append("extern \"C\" __global__ void __launch_bounds__(").append(THREADS).append(") reduce(").append(text.parameters())
                .append(") {\n").append(body).append("}\n");
        long blocks = rows ? (results + THREADS / team - 1) / (THREADS / team) : (results + WARP - 1) / WARP;
        return text.apply(Launch.of(device, modules.function(source.toString(), "reduce"), "reduce")).grid(blocks, parts, 1)
                .block(rows ? THREADS : WARP, rows ? 1 : THREADS / WARP);
    }

    private int vector(List<Expr.Input> used) {
        List<Layout> read = new ArrayList<>();
        List<List<Long>> reducedStrides = new ArrayList<>();
        List<List<Long>> keptStrides = new ArrayList<>();
        for (Expr.Input in : used) {
            read.add(layouts.get(in.index()));
            reducedStrides.add(reduced.strides().get(in.index()));
            keptStrides.add(kept.strides().get(in.index()));
        }
        return KernelText.vector(new Axes(reduced.extents(), reducedStrides), List.of(new Axes(kept.extents(), keptStrides)), read, true);
    }

    /** What is reduced, as a function of one element's inputs. */
    private String element(KernelText text, List<Expr.Input> used) {
        ExpressionSource expressions = new ExpressionSource(text.literals, "    ", "");
        used.forEach(in -> expressions.input(in, "x" + in.index()));
        String value = expressions.value(prologue);
        StringBuilder f = new StringBuilder("static __device__ __forceinline__ Accumulator element(");
        for (Expr.Input in : used) {
            f.append(in == used.getFirst() ? "" : ", ").append("const ").append(ExpressionSource.computed(in.dtype())).append(" x")
                    .append(in.index());
        }
        if (arg) {
            f.append(used.isEmpty() ? "" : ", ").append("const i64 place");
        }
        String literals = ExpressionSource.parameters(text.literals);
        f.append(used.isEmpty() && !arg && !literals.isEmpty() ? literals.substring(2) : literals).append(") {\n")
                .append(expressions.statements());
        f.append(arg ? "    Accumulator a;\n    a.value = " + value + ";\n    a.place = place;\n    return a;\n" : "    return " + value + ";\n");
        return f.append("}\n\n").toString();
    }

    private String loads(List<Expr.Input> used) {
        List<String> loads = new ArrayList<>(used.stream().map(in -> "widen(x" + in.index() + "[at" + in.index() + "])").toList());
        if (arg) {
            loads.add("g");
        }
        return String.join(", ", loads);
    }

    private String literals(KernelText text) {
        List<String> names = List.copyOf(text.literals.values());
        return (names.isEmpty() ? "" : ", ") + String.join(", ", names);
    }

    private String vectorLoop(KernelText text, List<Expr.Input> used, int vector) {
        StringBuilder body = new StringBuilder();
        List<String> values = new ArrayList<>();
        for (Expr.Input in : used) {
            String x = "x" + in.index();
            boolean runs = reduced.innermost(in.index()) == 1;
            body.append("        const auto g").append(in.index()).append(runs ? " = load<" + vector + ">(" + x + " + at" + in.index() + ");\n"
                    : " = widen(" + x + "[at" + in.index() + "]);\n");
            values.add(runs ? "widen(g" + in.index() + ".at[k])" : "g" + in.index());
        }
        body.append("#pragma unroll\n        for (int k = 0; k < ").append(vector).append("; k++) {\n            a = combine(a, element(")
                .append(String.join(", ", values)).append(literals(text)).append("));\n        }\n");
        return body.toString();
    }

    /** The second kernel: a thread combines the parts of one result, in order. */
    private Launch combine(long parts) {
        KernelText text = new KernelText();
        text.pointer("const Accumulator", "partial", inputs + 1);
        text.pointer(ExpressionSource.stored(layouts.getLast().dtype()), "y", inputs);
        text.index("results", results, small);
        text.index("parts", parts, small);
        text.number("length", length);
        StringBuilder source = file();
        StringBuilder body = new StringBuilder("""
                    const index_t o = static_cast<index_t>(blockIdx.x) * 256 + threadIdx.x;
                    if (o >= results) {
                        return;
                    }
                    Accumulator a = partial[o];
                    for (index_t p = 1; p < parts; p++) {
                        a = combine(a, partial[p * results + o]);
                    }
                """).append(store(1, text, "    "));
        source.append("extern \"C\" __global__ void __launch_bounds__(256) combine_parts(").append(text.parameters()).append(") {\n").append(body)
                .append("}\n");
        return text.apply(Launch.of(device, modules.function(source.toString(), "combine_parts"), "combine_parts"))
                .grid((results + THREADS - 1) / THREADS, 1, 1).block(THREADS, 1).build();
    }
}
