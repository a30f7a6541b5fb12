// Elementwise operations on CUDA: one generated kernel an expression, whatever the shapes.
package dev.heddle.engine.cuda;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A thread computes a group of neighbours along the innermost axis, 16 bytes an access where strides and alignment allow.
 * Inputs that are repeated along an axis are read where they are, not materialised. The source says which strides are 0 or
 * 1; other strides and all extents are arguments.
 */
final class ElementwiseKernels {
    private static final int THREADS = 256;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 32;

    private ElementwiseKernels() {}

    /** The kernel of an elementwise step. */
    static Kernel of(CudaDevice device, CudaModules modules, Step step) {
        List<Expr> outputs = ((Elementwise) step.op()).outputs();
        List<Layout> layouts = new ArrayList<>(step.inputLayouts());
        layouts.addAll(step.outputLayouts());
        int inputs = step.inputs().size();
        var shape = step.outputLayouts().getFirst().shape();
        if (shape.elements() == 0) {
            return addresses -> { };
        }
        boolean small = KernelText.small(layouts);
        Axes axes = Axes.of(shape, IntStream.range(0, shape.rank()).boxed().toList(), layouts, inputs);
        int vector = KernelText.vector(axes, List.of(), layouts, false);
        long groups = axes.rank() == 0 ? 1 : axes.elements() / axes.extents().getLast()
                * ((axes.extents().getLast() + vector - 1) / vector);

        List<Expr.Input> used = new ArrayList<>();
        outputs.forEach(e -> ExpressionSource.inputs(e, used));
        KernelText text = new KernelText();
        StringBuilder source = KernelText.file(small);
        source.append(function(text, outputs, used));

        for (int k = 0; k < outputs.size(); k++) {
            text.pointer(ExpressionSource.stored(outputs.get(k).dtype()), "y" + k, inputs + k);
        }
        for (Expr.Input in : used) {
            text.pointer("const " + ExpressionSource.stored(in.dtype()), "x" + in.index(), in.index());
        }
        text.index("groups", groups, small);
        List<String> offsets = new ArrayList<>();
        for (int k = 0; k < layouts.size(); k++) {
            int operand = k;
            boolean walked = k >= inputs || used.stream().anyMatch(in -> in.index() == operand);
            offsets.add(walked ? "at" + k : null);
        }
        StringBuilder body = new StringBuilder();
        offsets.stream().filter(o -> o != null).forEach(o -> body.append("        index_t ").append(o).append(" = 0;\n"));
        body.append(text.walk(axes, "a", "t", vector, offsets, small, "        "));
        boolean tail = vector > 1 && axes.rank() == 1;
        if (tail) {
            text.index("n", axes.extents().getFirst(), small);
            body.append("        if (a0 + ").append(vector).append(" > n) {\n            for (int k = 0; a0 + k < n; k++) {\n");
            body.append(call(axes, outputs, used, inputs, literals(text), "k", "                "));
            body.append("            }\n            continue;\n        }\n");
        }
        body.append(vector > 1 ? vectorBody(axes, outputs, used, inputs, literals(text), vector)
                : call(axes, outputs, used, inputs, literals(text), null, "        "));

        String name = "elementwise";
        source.append("extern \"C\" __global__ void __launch_bounds__(").append(THREADS).append(") ").append(name).append('(')
                .append(text.parameters()).append(") {\n")
                .append("    const index_t step = gridDim.x * ").append(THREADS).append(";\n")
                .append("    for (index_t t = blockIdx.x * ").append(THREADS).append(" + threadIdx.x; t < groups; t += step) {\n")
                .append(body).append("    }\n}\n");
        long blocks = Math.min((groups + THREADS - 1) / THREADS, (long) device.multiprocessors * BLOCKS_PER_MULTIPROCESSOR);
        return text.apply(Launch.of(device, modules.function(source.toString(), name), name)).grid(blocks, 1, 1).block(THREADS, 1)
                .build();
    }

    /** The expressions as a function of one element's inputs; literals are passed through. */
    static String function(KernelText text, List<Expr> outputs, List<Expr.Input> used) {
        ExpressionSource expressions = new ExpressionSource(text.literals, "    ", "");
        used.forEach(in -> expressions.input(in, "x" + in.index()));
        List<String> values = outputs.stream().map(expressions::value).toList();
        StringBuilder f = new StringBuilder("static __device__ __forceinline__ void compute(");
        for (int k = 0; k < outputs.size(); k++) {
            f.append(k == 0 ? "" : ", ").append(ExpressionSource.stored(outputs.get(k).dtype())).append("& y").append(k);
        }
        for (Expr.Input in : used) {
            f.append(", const ").append(ExpressionSource.computed(in.dtype())).append(" x").append(in.index());
        }
        f.append(ExpressionSource.parameters(text.literals)).append(") {\n").append(expressions.statements());
        for (int k = 0; k < outputs.size(); k++) {
            f.append("    y").append(k).append(" = narrow<").append(ExpressionSource.stored(outputs.get(k).dtype())).append(">(")
                    .append(values.get(k)).append(");\n");
        }
        return f.append("}\n\n").toString();
    }

    private static String literals(KernelText text) {
        return String.join("", text.literals.values().stream().map(name -> ", " + name).toList());
    }

    /** One element, {@code k} behind the group's first if that is given. */
    private static String call(Axes axes, List<Expr> outputs, List<Expr.Input> used, int inputs, String literals, String k, String indent) {
        StringBuilder text = new StringBuilder(indent).append("compute(");
        for (int i = 0; i < outputs.size(); i++) {
            text.append(i == 0 ? "" : ", ").append("y").append(i).append("[at").append(inputs + i).append(step(axes, inputs + i, k)).append(']');
        }
        for (Expr.Input in : used) {
            text.append(", widen(x").append(in.index()).append("[at").append(in.index()).append(step(axes, in.index(), k)).append("])");
        }
        return text.append(literals).append(");\n").toString();
    }

    private static String step(Axes axes, int operand, String k) {
        return k != null && axes.innermost(operand) == 1 ? " + " + k : "";
    }

    /** A whole group: wide loads, the elements one by one in registers, wide stores. */
    private static String vectorBody(Axes axes, List<Expr> outputs, List<Expr.Input> used, int inputs, String literals, int vector) {
        StringBuilder text = new StringBuilder();
        String indent = "        ";
        for (Expr.Input in : used) {
            String x = "x" + in.index();
            if (axes.innermost(in.index()) == 1) {
                text.append(indent).append("const auto g").append(in.index()).append(" = load<").append(vector).append(">(").append(x)
                        .append(" + at").append(in.index()).append(");\n");
            } else {
                text.append(indent).append("const auto g").append(in.index()).append(" = widen(").append(x).append("[at").append(in.index())
                        .append("]);\n");
            }
        }
        for (int i = 0; i < outputs.size(); i++) {
            text.append(indent).append("Vec<").append(ExpressionSource.stored(outputs.get(i).dtype())).append(", ").append(vector)
                    .append("> r").append(i).append(";\n");
        }
        text.append("#pragma unroll\n").append(indent).append("for (int k = 0; k < ").append(vector).append("; k++) {\n")
                .append(indent).append("    compute(");
        for (int i = 0; i < outputs.size(); i++) {
            text.append(i == 0 ? "" : ", ").append("r").append(i).append(".at[k]");
        }
        for (Expr.Input in : used) {
            text.append(axes.innermost(in.index()) == 1 ? ", widen(g" + in.index() + ".at[k])" : ", g" + in.index());
        }
        text.append(literals).append(");\n").append(indent).append("}\n");
        for (int i = 0; i < outputs.size(); i++) {
            text.append(indent).append("store(y").append(i).append(" + at").append(inputs + i).append(", r").append(i).append(");\n");
        }
        return text.toString();
    }
}
