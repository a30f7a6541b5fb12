// Every operation that computes each element from the elements at the same place, with broadcasting.
package dev.heddle.engine.op;

import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * One or more expressions over the same inputs, which broadcast to a common shape, the shape of all outputs. Several
 * outputs serve updates that read and write the same state, such as Adam's.
 *
 * @param outputs one expression an output; {@code Input(i)} must have the dtype of input {@code i}
 */
public record Elementwise(List<Expr> outputs) implements Op {
    public Elementwise {
        outputs = List.copyOf(outputs);
    }

    /** An op of one expression. */
    public static Elementwise of(Expr output) {
        return new Elementwise(List.of(output));
    }

    @Override
    public List<Spec> infer(List<Spec> inputs) {
        Shape shape = inputs.isEmpty() ? Shape.SCALAR : inputs.getFirst().shape();
        for (int i = 1; i < inputs.size(); i++) {
            shape = Shape.broadcast(name(), shape, inputs.get(i).shape());
        }
        if (outputs.size() == 1) {
            return List.of(new Spec(outputs.getFirst().dtype(), shape));
        }
        Shape common = shape;
        return outputs.stream().map(e -> new Spec(e.dtype(), common)).toList();
    }

    /** The outermost function of the first output, for example {@code add}. */
    @Override
    public String name() {
        Object function = switch (outputs.getFirst()) {
            case Expr.Unary u -> u.op();
            case Expr.Binary b -> b.op();
            case Expr.Compare c -> c.op();
            case Expr.Select s -> "where";
            case Expr.Cast c -> "to_" + c.dtype();
            case Expr.Input i -> "copy";
            case Expr.Constant c -> "full";
        };
        return function.toString().toLowerCase(java.util.Locale.ROOT);
    }

    /** Checks that expression and inputs agree on dtypes; used where ops are built by hand. */
    public void check(List<Spec> inputs) {
        for (Expr output : outputs) {
            check(output, inputs);
        }
    }

    private static void check(Expr e, List<Spec> inputs) {
        switch (e) {
            case Expr.Input(int index, var dtype) -> {
                if (index >= inputs.size() || inputs.get(index).dtype() != dtype) {
                    throw new ShapeException("elementwise: input " + index + " should be " + dtype + " but inputs are " + inputs);
                }
            }
            case Expr.Constant c -> { }
            case Expr.Unary u -> check(u.a(), inputs);
            case Expr.Binary b -> {
                check(b.a(), inputs);
                check(b.b(), inputs);
            }
            case Expr.Compare c -> {
                check(c.a(), inputs);
                check(c.b(), inputs);
            }
            case Expr.Select s -> {
                check(s.condition(), inputs);
                check(s.a(), inputs);
                check(s.b(), inputs);
            }
            case Expr.Cast c -> check(c.a(), inputs);
        }
    }
}
