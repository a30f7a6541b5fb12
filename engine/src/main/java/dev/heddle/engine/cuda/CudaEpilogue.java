// A bias and a relu behind a product or convolution whose library does not add them: a second kernel, in place.
package dev.heddle.engine.cuda;

import dev.heddle.engine.Activations;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import dev.heddle.engine.plan.Step.Operand;
import java.util.Arrays;
import java.util.List;

/** What the planner would have run, had it not been told that the epilogue can be folded. */
final class CudaEpilogue implements Kernel {
    private final Kernel product; // of two inputs
    private final Kernel epilogue; // of the product and, if there is one, the bias
    private final boolean bias;
    private final long[] productAddresses;
    private final long[] epilogueAddresses;

    CudaEpilogue(CudaDevice device, CudaModules modules, Step step, Kernel product) {
        this.product = product;
        bias = step.epilogue().bias();
        Layout out = step.outputLayouts().getFirst();
        Operand result = new Operand(0, out);
        Expr value = new Expr.Input(0, out.dtype());
        value = bias ? value.add(new Expr.Input(1, out.dtype())) : value;
        Op op = Elementwise.of(step.epilogue().relu() ? Activations.relu(value) : value);
        List<Operand> inputs = bias ? List.of(result, new Operand(1, along(step.op(), step.inputLayouts().get(2), out))) : List.of(result);
        epilogue = ElementwiseKernels.of(device, modules, new Step(op, null, Step.Epilogue.NONE, inputs, List.of(result), step.node()));
        productAddresses = new long[product.workspaceBytes() > 0 ? 4 : 3];
        epilogueAddresses = new long[inputs.size() + 1];
    }

    /** The bias broadcast over the result: along the columns of a product, along the channels of a convolution. */
    private static Layout along(Op op, Layout bias, Layout out) {
        long[] strides = new long[out.shape().rank()];
        strides[op instanceof dev.heddle.engine.op.MatMul ? strides.length - 1 : 1] = bias.stride(0);
        return new Layout(out.dtype(), out.shape(), strides, bias.offset());
    }

    @Override
    public long workspaceBytes() {
        return product.workspaceBytes();
    }

    @Override
    public void run(long[] addresses) {
        int out = bias ? 3 : 2;
        System.arraycopy(addresses, 0, productAddresses, 0, 2);
        System.arraycopy(addresses, out, productAddresses, 2, productAddresses.length - 2);
        product.run(productAddresses);
        Arrays.fill(epilogueAddresses, addresses[out]);
        if (bias) {
            epilogueAddresses[1] = addresses[2];
        }
        epilogue.run(epilogueAddresses);
    }
}
