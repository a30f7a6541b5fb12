// One computation to be checked and timed: a standard one or a user's own.
package dev.heddle.bench.kernel;

import dev.heddle.engine.DType;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.op.Spec;
import java.util.List;
import java.util.function.LongFunction;
import java.util.function.UnaryOperator;

/**
 * A function of tensors, its inputs, and what it must cost. Any Java lambda over tensors will do, a
 * {@link dev.heddle.engine.cuda.CudaKernel} too:
 *
 * <pre>{@code
 * KernelCase swish = KernelCase.of("swish f32 8192x4096",
 *         seed -> List.of(KernelCase.randn(seed, DType.F32, 8192, 4096)),
 *         in -> List.of(in.get(0).map(e -> e.mul(e.sigmoid()))));
 * new KernelBench(Device.current()).run(List.of(swish));
 * }</pre>
 *
 * @param name what the results are filed under; the standard cases have a kernel, a dtype and extents
 * @param inputs makes a set of evaluated inputs from a seed, on {@link dev.heddle.engine.Device#current()}; several sets are used in turn
 * @param function records the outputs; it must not keep state, or be checked before anything else runs it
 * @param reference what the outputs should be, as {@code function} is given its inputs
 * @param rows how many of the inputs, the first ones, share their first axis with the outputs row by row, so that checking the first
 *     and the last row is enough; 0 if outputs depend on all of the input: then all of it is checked
 * @param bytes that must move; 0: every input is read once, every output written once
 * @param flops floating-point operations of the function; 0 where memory is the only limit
 * @param tolerance largest relative error (root of the sum of squares) that passes; 0: 1e-4, with 16-bit inputs 1e-2
 */
public record KernelCase(String name, LongFunction<List<Tensor>> inputs, UnaryOperator<List<Tensor>> function, UnaryOperator<List<Tensor>> reference,
        int rows, double bytes, double flops, double tolerance) {
    /** A case whose whole output is checked against the same function on the reference: a {@code CudaKernel}'s is its meaning. */
    public static KernelCase of(String name, LongFunction<List<Tensor>> inputs, UnaryOperator<List<Tensor>> function) {
        return new KernelCase(name, inputs, function, function, 0, 0, 0, 0);
    }

    /** The same, checked against another function, which says in other operations what the outputs should be. */
    public KernelCase reference(UnaryOperator<List<Tensor>> reference) {
        return new KernelCase(name, inputs, function, reference, rows, bytes, flops, tolerance);
    }

    /** The same, of which only the first and last rows are checked. @param rows inputs that are sliced, the first ones */
    public KernelCase rows(int rows) {
        return new KernelCase(name, inputs, function, reference, rows, bytes, flops, tolerance);
    }

    /** The same with the bytes that must move, where that is not each input and output once. */
    public KernelCase bytes(double bytes) {
        return new KernelCase(name, inputs, function, reference, rows, bytes, flops, tolerance);
    }

    /** The same with a number of floating-point operations; an addition and a multiplication are two. */
    public KernelCase flops(double flops) {
        return new KernelCase(name, inputs, function, reference, rows, bytes, flops, tolerance);
    }

    /** The same with another tolerance. */
    public KernelCase tolerance(double tolerance) {
        return new KernelCase(name, inputs, function, reference, rows, bytes, flops, tolerance);
    }

    /** Random numbers of the standard normal distribution, evaluated. @param shape extents */
    public static Tensor randn(long seed, DType dtype, long... shape) {
        return new Generator(seed).randn(shape).to(dtype).eval();
    }

    /** Bytes that must move when these inputs become these outputs. */
    double bytes(List<Tensor> in, List<Tensor> out) {
        return bytes > 0 ? bytes : bytesOf(in) + bytesOf(out);
    }

    static double bytesOf(List<Tensor> tensors) {
        return tensors.stream().map(Tensor::spec).mapToDouble(Spec::bytes).sum();
    }

    /** The dtype of the first input. */
    DType dtype(List<Tensor> in) {
        return in.getFirst().dtype();
    }

    double tolerance(List<Tensor> in) {
        return tolerance > 0 ? tolerance : dtype(in).bytes() == 2 ? 1e-2 : 1e-4;
    }

    /** Records and computes the outputs; on a GPU, does not wait for them. */
    List<Tensor> run(List<Tensor> in) {
        List<Tensor> out = function.apply(in);
        Tensor.eval(out.toArray(new Tensor[0]));
        return out;
    }
}
