// What a backend makes one kernel of: a step, or several that run better together.
package dev.heddle.engine.plan;

import dev.heddle.engine.Shape;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Reduce;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Steps that run as one kernel.
 *
 * @param steps one; or the same update of several variables; or, if {@code rows} is given, steps that go row by row
 * @param rows how the steps divide into rows, else null
 */
public record Call(List<Step> steps, Rows rows) {
    /**
     * The steps compute every row of their outputs from the same row of their inputs, or from inputs that all rows share:
     * softmax and the norms are such, and attention, whose rows are its heads. So a block of rows can go through all steps while it is in the cache.
     * The last steps may reduce all rows to one, as for the gradients of a norm's weights, where the backend says that it can.
     *
     * @param count number of rows
     * @param leading by step, how many leading axes the rows are; 0 if it reduces the rows, see {@link #rowsFirst}
     * @param internal storages that only these steps use; they have no memory outside the call
     */
    public record Rows(long count, List<Integer> leading, Set<Integer> internal) {}

    /** An input as a step runs over it: broadcast to the step's leading axes. */
    public static Layout walked(Step step, int input) {
        Layout layout = step.inputs().get(input).layout();
        if (!(step.op() instanceof MatMul)) {
            return layout;
        }
        Shape out = step.outputs().getFirst().layout().shape();
        int rank = out.rank();
        return layout.expand(out.with(rank - 2, layout.shape().dim(-2)).with(rank - 1, layout.shape().dim(-1)));
    }

    /** A reduction with the axes that it reduces in front. */
    public static Step rowsFirst(Step step) {
        Reduce reduce = (Reduce) step.op();
        List<Integer> axes = reduce.axes();
        int rank = step.inputs().getFirst().layout().shape().rank();
        int[] order = IntStream.concat(axes.stream().mapToInt(axis -> axis), IntStream.range(0, rank).filter(axis -> !axes.contains(axis))).toArray();
        Reduce first = new Reduce(reduce.kind(), IntStream.range(0, axes.size()).boxed().toList(), reduce.keepDims());
        return new Step(first, step.prologue(), step.epilogue(), permuted(step.inputs(), order), permuted(step.outputs(), order), step.node());
    }

    private static List<Step.Operand> permuted(List<Step.Operand> operands, int[] order) {
        return operands.stream().map(x -> new Step.Operand(x.storage(), x.layout().permute(order))).toList();
    }

    /** The inputs, then the outputs, of each step in turn: what the kernel gets the addresses of. */
    public List<Step.Operand> operands() {
        return steps.stream().flatMap(step -> Stream.concat(step.inputs().stream(), step.outputs().stream())).toList();
    }

    static Call of(Step step) {
        return new Call(List.of(step), null);
    }
}
