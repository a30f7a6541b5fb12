// One kernel call of a plan.
package dev.heddle.engine.plan;

import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Reduce;
import java.util.List;

/**
 * An op on memory.
 *
 * @param op what is done; of an {@link Elementwise}, the inputs' layouts are expanded to the shape of the outputs
 * @param prologue of a reduction, the elementwise expression over the inputs that is reduced; else null
 * @param epilogue of a convolution or a matrix product, what is done to the result as it is stored
 * @param inputs where they are and how they lie; the first of a scatter is its output, which holds what is added to
 * @param outputs likewise
 * @param node the node of the graph it computes, for messages
 */
public record Step(Op op, Expr prologue, Epilogue epilogue, List<Operand> inputs, List<Operand> outputs, int node) {
    /**
     * Additions to a convolution or a matrix product: a bias, which is its third input, along the channels or the columns of
     * the result, and a relu.
     */
    public record Epilogue(boolean bias, boolean relu) {
        /** Nothing added. */
        public static final Epilogue NONE = new Epilogue(false, false);
    }

    /** A storage of the plan, seen through a layout. */
    public record Operand(int storage, Layout layout) {}

    /** The shape it runs over: that of what a reduction reduces, else that of the result. */
    public Shape domain() {
        return (op instanceof Reduce ? inputs : outputs).getFirst().layout().shape();
    }

    boolean reads(int storage) {
        return inputs.stream().anyMatch(x -> x.storage() == storage);
    }

    boolean writes(int storage) {
        return outputs.stream().anyMatch(x -> x.storage() == storage);
    }

    /** The layouts of the inputs. */
    public List<Layout> inputLayouts() {
        return inputs.stream().map(Operand::layout).toList();
    }

    /** The layouts of the outputs. */
    public List<Layout> outputLayouts() {
        return outputs.stream().map(Operand::layout).toList();
    }
}
