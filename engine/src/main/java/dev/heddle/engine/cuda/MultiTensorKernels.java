// The same update of many tensors, such as an optimizer's, in a few launches: most parameters are far too small to fill a GPU.
package dev.heddle.engine.cuda;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.ArrayList;
import java.util.List;

/**
 * Tensors are cut into chunks of 4096 elements, a block each. The tensors' addresses and the chunks they begin at are kernel
 * parameters, as many as fit into their 4 KB, so that nothing has to be uploaded and a CUDA graph can change them.
 */
final class MultiTensorKernels {
    private static final int THREADS = 256;
    private static final int CHUNK = 4096; // elements
    private static final int PARAMETER_BYTES = 3500; // of 4096, the rest for literals and sizes

    private MultiTensorKernels() {}

    /** Whether a call is one: all tensors contiguous or single numbers, of the same dtypes from step to step. */
    static boolean supports(Call call) {
        Step first = call.steps().getFirst();
        return call.rows() == null && call.steps().stream().allMatch(step -> step.op().equals(first.op())
                && elements(step) > 0 && elements(step) < Integer.MAX_VALUE
                && step.inputLayouts().stream().map(Layout::dtype).toList().equals(first.inputLayouts().stream().map(Layout::dtype).toList())
                && step.outputLayouts().stream().allMatch(Layout::isContiguous)
                && step.inputLayouts().stream().map(x -> repeated(x)).toList().equals(first.inputLayouts().stream().map(x -> repeated(x)).toList())
                && step.inputLayouts().stream().allMatch(x -> repeated(x) || x.isContiguous()));
    }

    private static long elements(Step step) {
        return step.outputs().getFirst().layout().shape().elements();
    }

    /** Whether an input is one number, repeated. */
    private static boolean repeated(Layout x) {
        for (int i = 0; i < x.shape().rank(); i++) {
            if (x.shape().dim(i) > 1 && x.stride(i) != 0) {
                return false;
            }
        }
        return true;
    }

    /** The kernel of a call it supports. */
    static Kernel of(CudaDevice device, CudaModules modules, Call call) {
        Step first = call.steps().getFirst();
        int operands = first.inputs().size() + first.outputs().size();
        int most = PARAMETER_BYTES / (8 * operands + 8);
        List<Kernel> launches = new ArrayList<>();
        for (int from = 0; from < call.steps().size(); from += most) {
            List<Step> part = call.steps().subList(from, Math.min(call.steps().size(), from + most));
            launches.add(launch(device, modules, part, from * operands));
        }
        return Kernels.Sequence.of(launches);
    }

    private static Launch launch(CudaDevice device, CudaModules modules, List<Step> steps, int firstOperand) {
        Step first = steps.getFirst();
        List<Expr> outputs = ((Elementwise) first.op()).outputs();
        int inputs = first.inputs().size();
        int operands = inputs + outputs.size();
        List<Expr.Input> used = new ArrayList<>();
        outputs.forEach(e -> ExpressionSource.inputs(e, used));
        KernelText text = new KernelText();
        StringBuilder source = KernelText.file(true).append(ElementwiseKernels.function(text, outputs, used));
        source.append("struct Tensors {\n    void* at[").append(steps.size()).append("][").append(operands).append("];\n    int32_t elements[")
                .append(steps.size()).append("];\n    int32_t first[").append(steps.size()).append("]; // chunk\n};\n\n");
        source.append("extern \"C\" __global__ void __launch_bounds__(").append(THREADS).append(") multi_tensor(const Tensors tensors")
                .append(ExpressionSource.parameters(text.literals)).append(") {\n");
        source.append("""
                    const int32_t chunk = blockIdx.x;
                    int low = 0;
                    for (int high = COUNT; high - low > 1;) {
                        const int middle = (low + high) / 2;
                        const bool before = tensors.first[middle] <= chunk;
                        low = before ? middle : low;
                        high = before ? high : middle;
                    }
                    const int32_t start = (chunk - tensors.first[low]) * CHUNK;
                    const int32_t left = tensors.elements[low] - start;
                    const int32_t end = start + (left < CHUNK ? left : CHUNK);
                """.replace("COUNT", "" + steps.size()).replace("CHUNK", "" + CHUNK));
        for (int k = 0; k < outputs.size(); k++) {
            String type = ExpressionSource.stored(outputs.get(k).dtype());
            source.append("    ").append(type).append("* const y").append(k).append(" = static_cast<").append(type).append("*>(tensors.at[low][")
                    .append(inputs + k).append("]);\n");
        }
        for (Expr.Input in : used) {
            String type = "const " + ExpressionSource.stored(in.dtype());
            source.append("    ").append(type).append("* const x").append(in.index()).append(" = static_cast<").append(type)
                    .append("*>(tensors.at[low][").append(in.index()).append("]);\n");
        }
        source.append("#pragma unroll 4\n    for (int32_t i = start + threadIdx.x; i < end; i += ").append(THREADS).append(") {\n        compute(");
        for (int k = 0; k < outputs.size(); k++) {
            source.append(k == 0 ? "" : ", ").append('y').append(k).append("[i]");
        }
        for (Expr.Input in : used) {
            source.append(", widen(x").append(in.index()).append(repeated(first.inputs().get(in.index()).layout()) ? "[0])" : "[i])");
        }
        text.literals.values().forEach(name -> source.append(", ").append(name));
        source.append(");\n    }\n}\n");

        Launch.Builder launch = Launch.of(device, modules.function(source.toString(), "multi_tensor"), "multi_tensor");
        Launch.Struct tensors = new Launch.Struct();
        for (int i = 0; i < steps.size() * operands; i++) {
            tensors.pointer(firstOperand + i);
        }
        int chunks = 0;
        List<Integer> firsts = new ArrayList<>();
        for (Step step : steps) {
            firsts.add(chunks);
            chunks += (int) ((elements(step) + CHUNK - 1) / CHUNK);
        }
        List<Integer> words = new ArrayList<>(steps.stream().map(step -> (int) elements(step)).toList());
        words.addAll(firsts);
        for (int i = 0; i < words.size(); i += 2) {
            tensors.add(words.get(i) & 0xffffffffL | (long) words.get(i + 1) << 32);
        }
        ExpressionSource.add(launch.struct(tensors), text.literals);
        return launch.grid(chunks, 1, 1).block(THREADS, 1).build();
    }
}
