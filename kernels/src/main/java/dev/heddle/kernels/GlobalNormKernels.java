// Launches of global_norm.cu.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.plan.Kernel;
import java.util.ArrayList;
import java.util.List;

/** The norm of many tensors. */
final class GlobalNormKernels {
    private static final int MOST = 128; // tensors of a launch
    private static final int CHUNK = 8192; // elements of a block

    private GlobalNormKernels() {}

    static Kernel norm(FusedCall call) {
        List<Kernel> kernels = new ArrayList<>();
        long parts = 0;
        for (DType dtype : Catalogue.GLOBAL_NORM_PARTIALS.dtypes()) {
            List<Integer> tensors = new ArrayList<>();
            for (int i = 0; i < call.inputs().size(); i++) {
                if (call.inputs().get(i).dtype() == dtype) {
                    tensors.add(i);
                }
            }
            for (int from = 0; from < tensors.size(); from += MOST) {
                List<Integer> some = tensors.subList(from, Math.min(tensors.size(), from + MOST));
                kernels.add(partials(dtype, some, parts, call));
                parts += some.stream().mapToLong(i -> chunks(i, call)).sum();
            }
        }
        kernels.add(Catalogue.GLOBAL_NORM.launch(call.cuda(), DType.F32).pointer(call.output(0)).pointer(call.workspace()).value(parts)
                .block(1024, 1, 1).workspace(4 * parts).build());
        return Cuda.sequence(kernels);
    }

    private static long chunks(int tensor, FusedCall call) {
        return FusedCall.divideUp(call.shape(tensor).elements(), CHUNK);
    }

    private static Kernel partials(DType dtype, List<Integer> tensors, long firstPart, FusedCall call) {
        Launch.Struct struct = new Launch.Struct();
        tensors.forEach(struct::pointer);
        fill(struct, tensors);
        tensors.forEach(i -> struct.add(call.shape(i).elements()));
        fill(struct, tensors);
        long chunks = 0;
        for (int i : tensors) {
            struct.add(chunks);
            chunks += chunks(i, call);
        }
        fill(struct, tensors);
        return Catalogue.GLOBAL_NORM_PARTIALS.launch(call.cuda(), dtype).pointer(call.workspace(), 4 * firstPart).struct(struct)
                .value(tensors.size()).grid(chunks, 1, 1).build();
    }

    private static void fill(Launch.Struct struct, List<Integer> used) {
        for (int i = used.size(); i < MOST; i++) {
            struct.add(0);
        }
    }
}
