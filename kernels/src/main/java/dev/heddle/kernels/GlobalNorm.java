// The norm of all gradients of a model, which clipping needs: one pass over tensors of which most are small.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.List;

/** {@code (x, y, ...) -> norm}: the Euclidean norm of tensors of any shapes taken as one vector, {@code F32}, or {@code F64} if one is. */
public record GlobalNorm() implements Fused {
    @Override
    public List<Spec> infer(List<Spec> inputs) {
        if (!inputs.stream().allMatch(x -> x.dtype().isFloat())) {
            throw new ShapeException("global_norm: not all floats: " + inputs);
        }
        return List.of(new Spec(inputs.stream().anyMatch(x -> x.dtype() == DType.F64) ? DType.F64 : DType.F32, Shape.SCALAR));
    }

    @Override
    public List<Tensor> decompose(List<Tensor> inputs) {
        DType dtype = infer(inputs.stream().map(Tensor::spec).toList()).getFirst().dtype();
        Tensor sum = Tensor.scalar(0, dtype);
        for (Tensor x : inputs) {
            sum = sum.add(x.to(dtype).square().sum());
        }
        return List.of(sum.sqrt());
    }

    @Override
    public String name() {
        return "global_norm";
    }
}
