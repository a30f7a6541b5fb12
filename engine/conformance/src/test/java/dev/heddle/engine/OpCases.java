// The one table of operations that every backend must pass: what is called, with which inputs, how exact it has to be.
package dev.heddle.engine;

import dev.heddle.engine.fused.BatchNorm;
import dev.heddle.engine.fused.CrossEntropy;
import dev.heddle.engine.fused.LayerNorm;
import dev.heddle.engine.fused.Recurrent;
import dev.heddle.engine.fused.RecurrentCell;
import dev.heddle.engine.fused.RecurrentScan;
import dev.heddle.engine.fused.RmsNorm;
import dev.heddle.engine.fused.Softmax;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Window;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.Function;
import java.util.function.UnaryOperator;

/** Rows of the table. */
final class OpCases {
    private OpCases() {}

    /** How an input's values are drawn. */
    enum Values { ANY, POSITIVE, UNIT, DISTINCT, SPECIAL, INTEGER, SMALL_INTEGER, BOOL }

    /** An input: a leaf of a shape, and a view of it that the operation gets. */
    record Arg(Values values, long bound, UnaryOperator<Tensor> view, long... shape) {
        boolean floating() {
            return values.ordinal() <= Values.SPECIAL.ordinal();
        }

        Arg seen(UnaryOperator<Tensor> as) {
            return new Arg(values, bound, as, shape);
        }

        /** The leaf, evaluated, with values that depend on the seed alone. */
        Tensor leaf(DType dtype, long seed) {
            Random random = new Random(seed);
            int n = Math.toIntExact(Shape.of(shape).elements());
            double[] v = new double[n];
            List<Integer> order = new ArrayList<>();
            for (int i = 0; i < n; i++) {
                order.add(i);
            }
            java.util.Collections.shuffle(order, random);
            double[] special = {0, -0.0, 1, -1, Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 0.5, -2.5, 3.5};
            for (int i = 0; i < n; i++) {
                v[i] = switch (values) {
                    case ANY -> random.nextDouble() * 4 - 2;
                    case POSITIVE -> 0.1 + random.nextDouble() * 2;
                    case UNIT -> random.nextDouble() * 1.6 - 0.8;
                    case DISTINCT -> (order.get(i) - n / 2) * (4.0 / Math.max(4, n)) + 0.01; // no ties, none at a kink
                    case SPECIAL -> special[i % special.length];
                    case INTEGER -> random.nextInt(41) - 20;
                    case SMALL_INTEGER -> random.nextInt((int) bound);
                    case BOOL -> random.nextInt(2);
                };
            }
            DType own = values == Values.BOOL ? DType.BOOL : !floating() ? DType.I64 : dtype;
            return Tensor.of(v, shape).to(own).eval();
        }
    }

    /** A row. */
    record Case(String name, List<Arg> args, Function<List<Tensor>, List<Tensor>> function, boolean differentiable, boolean onlyF32,
            double slack) {
        Case noGradient() {
            return new Case(name, args, function, false, onlyF32, slack);
        }

        Case f32Only() {
            return new Case(name, args, function, differentiable, true, slack);
        }

        /** Multiplies the tolerance. */
        Case slack(double factor) {
            return new Case(name, args, function, differentiable, onlyF32, factor);
        }

        @Override
        public String toString() {
            return name;
        }
    }

    static Arg any(long... shape) {
        return new Arg(Values.ANY, 0, x -> x, shape);
    }

    static Arg positive(long... shape) {
        return new Arg(Values.POSITIVE, 0, x -> x, shape);
    }

    static Arg distinct(long... shape) {
        return new Arg(Values.DISTINCT, 0, x -> x, shape);
    }

    static Arg special(long... shape) {
        return new Arg(Values.SPECIAL, 0, x -> x, shape);
    }

    static Arg integers(long... shape) {
        return new Arg(Values.INTEGER, 0, x -> x, shape);
    }

    static Arg indices(long bound, long... shape) {
        return new Arg(Values.SMALL_INTEGER, bound, x -> x, shape);
    }

    static Arg bools(long... shape) {
        return new Arg(Values.BOOL, 0, x -> x, shape);
    }

    private static final List<Case> CASES = new ArrayList<>();

    private static Case row(String name, Function<List<Tensor>, Tensor> function, Arg... args) {
        return new Case(name, List.of(args), in -> List.of(function.apply(in)), true, false, 1);
    }

    private static Case rows(String name, Function<List<Tensor>, List<Tensor>> function, Arg... args) {
        return new Case(name, List.of(args), function, true, false, 1);
    }

    private static void add(Case... cases) {
        CASES.addAll(Arrays.asList(cases));
    }

    /** All rows. */
    static List<Case> all() {
        return CASES;
    }

    private static Case unary(String name, UnaryOperator<Tensor> f, Arg arg) {
        return row(name, in -> f.apply(in.getFirst()), arg);
    }

    static {
        elementwise();
        reductions();
        movement();
        products();
        indexing();
        convolutions();
        pooling();
        fused();
        attention();
        recurrent();
        others();
    }

    private static void elementwise() {
        for (long[] shape : new long[][] {{}, {1}, {13}, {207}, {0, 5}, {3, 16}, {2, 3, 5}}) {
            add(unary("neg" + Shape.of(shape), Tensor::neg, any(shape)), unary("gelu" + Shape.of(shape), x -> x.map(Activations::gelu), any(shape)));
        }
        add(unary("abs", Tensor::abs, distinct(13)), unary("sign", Tensor::sign, distinct(13)), unary("floor", Tensor::floor, distinct(13)),
                unary("ceil", Tensor::ceil, distinct(13)), unary("round", Tensor::round, distinct(13)), unary("sqrt", Tensor::sqrt, positive(13)),
                unary("rsqrt", Tensor::rsqrt, positive(13)), unary("square", Tensor::square, any(13)),
                unary("reciprocal", Tensor::reciprocal, positive(13)), unary("exp", Tensor::exp, any(207)), unary("expm1", Tensor::expm1, any(207)),
                unary("log", Tensor::log, positive(207)), unary("log1p", Tensor::log1p, positive(207)), unary("sin", Tensor::sin, any(207)),
                unary("cos", Tensor::cos, any(207)), unary("tanh", Tensor::tanh, any(207)), unary("erf", Tensor::erf, any(207)),
                unary("sigmoid", Tensor::sigmoid, any(207)), unary("relu", Tensor::relu, distinct(207)),
                unary("leakyRelu", x -> x.map(e -> Activations.leakyRelu(e, 0.1)), distinct(33)),
                unary("geluTanh", x -> x.map(Activations::geluTanh), any(33)), unary("silu", x -> x.map(Activations::silu), any(33)),
                unary("elu", x -> x.map(e -> Activations.elu(e, 1.5)), distinct(33)),
                unary("softplus", x -> x.map(Activations::softplus), any(33)), unary("mish", x -> x.map(Activations::mish), any(33)),
                unary("hardswish", x -> x.map(Activations::hardswish), distinct(33)), unary("activation tanh", x -> x.map(Activations::tanh), any(33)),
                unary("clamp", x -> x.clamp(-0.5, 0.7), distinct(33)), unary("map of a constant", x -> x.pow(0), any(5)));
        for (double exponent : new double[] {1, 2, 3, 0.5, -0.5, -1, 2.5}) {
            add(unary("pow " + exponent, x -> x.pow(exponent), positive(13)));
        }
        for (long[][] s : new long[][][] {{{13}, {13}}, {{3, 1, 5}, {4, 1}}, {{}, {7}}, {{65, 10}, {10}}, {{2, 0}, {1}}}) {
            String at = Shape.of(s[0]) + " " + Shape.of(s[1]);
            add(row("add" + at, in -> in.get(0).add(in.get(1)), any(s[0]), any(s[1])),
                    row("sub" + at, in -> in.get(0).sub(in.get(1)), any(s[0]), any(s[1])),
                    row("mul" + at, in -> in.get(0).mul(in.get(1)), any(s[0]), any(s[1])),
                    row("div" + at, in -> in.get(0).div(in.get(1)), any(s[0]), positive(s[1])));
        }
        add(row("pow", in -> in.get(0).pow(in.get(1)), positive(13), any(13)),
                row("maximum", in -> in.get(0).maximum(in.get(1)), distinct(33), any(33)),
                row("minimum", in -> in.get(0).minimum(in.get(1)), distinct(33), any(33)),
                row("remainder", in -> in.get(0).remainder(in.get(1)), distinct(33), positive(33)).slack(4).noGradient(),
                row("floorDiv", in -> in.get(0).floorDiv(in.get(1)), distinct(33), positive(33)).f32Only(),
                row("where", in -> in.get(0).where(in.get(1), in.get(2)), bools(4, 5), any(5), any(4, 1)),
                row("where nan", in -> in.get(0).gt(0).where(in.get(0), in.get(0).mul(0)), special(20)).noGradient());
        for (Arg a : List.of(any(13), special(20), integers(13))) {
            add(row("eq " + a.values(), in -> in.get(0).eq(in.get(1)), a, a), row("ne " + a.values(), in -> in.get(0).ne(in.get(1)), a, a),
                    row("lt " + a.values(), in -> in.get(0).lt(in.get(1)), a, a), row("le " + a.values(), in -> in.get(0).le(in.get(1)), a, a),
                    row("gt " + a.values(), in -> in.get(0).gt(in.get(1)), a, a), row("ge " + a.values(), in -> in.get(0).ge(in.get(1)), a, a));
        }
        Case specials = rows("special values", in -> {
            Tensor x = in.get(0);
            Tensor y = in.get(1);
            return List.of(x.neg(), x.abs(), x.sign(), x.floor(), x.round(), x.sqrt(), x.exp(), x.log(), x.tanh(), x.erf(), x.sigmoid(),
                    x.relu(), x.isNaN(), x.add(y), x.mul(y), x.div(y), x.maximum(y), x.minimum(y), x.expm1(), x.log1p(), x.rsqrt(), x.ceil());
        }, special(20), special(20).seen(x -> x.flip(0)));
        add(specials.noGradient());
        add(rows("integers", in -> {
            Tensor x = in.get(0);
            Tensor y = in.get(1);
            return List.of(x.add(y), x.sub(y), x.mul(y), x.floorDiv(y), x.remainder(y), x.maximum(y), x.minimum(y), x.neg(), x.abs(), x.sign(),
                    x.and(y), x.or(y), x.xor(y), x.not(), x.div(y), x.add(0.5), x.mul(3), x.to(DType.I32).mul(y.to(DType.I32)).neg(),
                    x.to(DType.U8).add(y.to(DType.U8)), x.to(DType.U8).mul(200), x.to(DType.BOOL), x.to(DType.F32), x.sqrt().isNaN());
        }, integers(33), integers(33)).f32Only().noGradient());
        add(rows("booleans", in -> List.of(in.get(0).and(in.get(1)), in.get(0).or(in.get(1)), in.get(0).xor(in.get(1)), in.get(0).not(),
                in.get(0).to(DType.I64), in.get(0).to(DType.F32), in.get(0).any(), in.get(0).all(), in.get(0).eq(in.get(1)),
                in.get(0).maximum(in.get(1)), in.get(0).any(0), in.get(0).all(1)), bools(5, 7), bools(5, 7)).noGradient());
        for (DType to : DType.values()) {
            add(unary("cast to " + to, x -> x.mul(3).to(to), any(21)).noGradient().slack(4),
                    unary("cast integers to " + to, x -> x.to(to), integers(21)).f32Only().noGradient());
        }
        add(unary("cast of specials", x -> Tensor.concat(0, x.to(DType.I64), x.mul(1e30).to(DType.I32).to(DType.I64)), special(20)).f32Only().noGradient(),
                unary("cast and back", x -> x.to(DType.F64).sin().to(DType.F32), any(21)).f32Only(),
                row("mixed dtypes", in -> in.get(0).add(in.get(1)).mul(in.get(2)), any(6), integers(6), bools(6)).noGradient(),
                row("a long chain", in -> {
                    Tensor x = in.getFirst();
                    for (int i = 0; i < 40; i++) {
                        x = x.mul(0.9).add(0.1 * i).sin();
                    }
                    return x;
                }, any(17)).f32Only().slack(40),
                rows("several outputs", in -> Tensor.recordAll(new Elementwise(List.of(
                        new Expr.Input(0, in.get(0).dtype()).mul(new Expr.Input(1, in.get(1).dtype())),
                        new Expr.Input(0, in.get(0).dtype()).sub(new Expr.Input(1, in.get(1).dtype())))), in), any(5, 3), any(3)));
        for (var view : views().entrySet()) {
            add(row("elementwise on " + view.getKey(), in -> in.get(0).mul(2).add(in.get(1)), any(6, 4).seen(view.getValue()), any(1)));
        }
    }

    private static java.util.Map<String, UnaryOperator<Tensor>> views() {
        var views = new java.util.LinkedHashMap<String, UnaryOperator<Tensor>>();
        views.put("transposed", Tensor::t);
        views.put("sliced", x -> x.slice(0, 1, 6, 2).slice(1, 1, 3));
        views.put("flipped", x -> x.flip(0, 1));
        views.put("expanded", x -> x.unsqueeze(1).expand(6, 3, 4));
        views.put("reshaped after transposing", x -> x.t().reshape(3, 8));
        views.put("permuted", x -> x.reshape(2, 3, 4).permute(2, 0, 1));
        return views;
    }

    private static void reductions() {
        int[][] axes = {{}, {0}, {1}, {-1}, {0, 2}, {1, 2}, {0, 1}};
        for (int[] a : axes) {
            String at = Arrays.toString(a);
            add(unary("sum" + at, x -> x.sum(a), any(3, 13, 5)), unary("mean" + at, x -> x.mean(true, a), any(3, 13, 5)),
                    unary("max" + at, x -> x.max(a), distinct(3, 13, 5)), unary("min" + at, x -> x.min(true, a), distinct(3, 13, 5)),
                    unary("prod" + at, x -> x.prod(a), positive(2, 3, 2)).slack(10));
        }
        for (long[] shape : new long[][] {{1}, {207}, {1, 207}, {207, 1}, {33, 70}, {70, 33}, {0}, {0, 3}, {5000}}) {
            add(unary("sum all of " + Shape.of(shape), Tensor::sum, any(shape)).slack(20),
                    unary("sum of columns of " + Shape.of(shape), x -> x.sum(0), any(shape)).slack(20));
        }
        for (var view : views().entrySet()) {
            add(unary("sum on " + view.getKey(), x -> x.sum(0), any(6, 4).seen(view.getValue())),
                    unary("max on " + view.getKey(), x -> x.max(-1), distinct(6, 4).seen(view.getValue())));
        }
        add(unary("argmax", x -> x.argmax(1), distinct(4, 33)), unary("argmin", x -> x.argmin(-2), distinct(4, 33)),
                unary("argmax of ties and NaN", x -> Tensor.stack(0, x.argmax(0), x.slice(0, 5, 7).argmin(0)), special(20)),
                unary("max of specials", x -> Tensor.stack(0, x.max(), x.min(), x.sum(), x.slice(0, 5, 7).max()), special(20)).noGradient(),
                unary("sum of a number", x -> x.mul(x).sum(), any()),
                unary("sum of integers", x -> Tensor.concat(0, x.sum(0), x.max(0), x.min(0), x.prod(0)), integers(3, 4)).noGradient(),
                unary("variance", x -> x.variance(true, false, 1), any(4, 13)), unary("biased variance", x -> x.variance(false, true, 0), any(4, 13)),
                unary("norm", Tensor::norm, any(4, 13)), unary("logSumExp", x -> x.mul(20).logSumExp(false, 1), any(4, 13)).slack(4),
                unary("fused into a sum", x -> x.mul(2).exp().add(x).sum(1), any(13, 33)).slack(20),
                unary("fused into a mean of columns", x -> x.square().mean(0), any(33, 13)).slack(4),
                unary("prod with zeros", x -> x.mul(x.gt(0).to(x.dtype())).prod(1), distinct(4, 3)).f32Only());
    }

    private static void movement() {
        add(unary("reshape", x -> x.reshape(5, -1), any(2, 3, 5)), unary("flatten", x -> x.flatten(1, -1), any(2, 3, 5)),
                unary("permute", x -> x.permute(2, 0, 1), any(2, 3, 5)), unary("transpose", Tensor::t, any(33, 18)),
                unary("expand", x -> x.expand(4, 3, 5), any(3, 1)), unary("expand to many", x -> x.expand(4, 3, 3001), any(3, 1)),
                unary("expand one", x -> x.expand(3, 2049), any(1)), unary("expand integers", x -> x.expand(2, 777), integers(2, 1)),
                unary("squeeze", x -> x.unsqueeze(1).squeeze(-2), any(3, 4)),
                unary("slice", x -> x.slice(0, 1, -1).slice(1, 0, 9, 3), any(5, 9)), unary("select", x -> x.select(1, -2), any(5, 9)),
                unary("an empty slice", x -> x.slice(0, 2, 2), any(5, 2)), unary("flip", x -> x.flip(0, -1), any(3, 2, 4)),
                unary("pad", x -> x.pad(new long[] {1, 0}, new long[] {2, 3}, 0.5), any(3, 4)),
                row("concat", in -> Tensor.concat(1, in.get(0), in.get(1), in.get(0)), any(3, 2), any(3, 5)),
                row("stack", in -> Tensor.stack(-1, in.get(0), in.get(1)), any(3, 2), any(3, 2)),
                rows("split", in -> in.getFirst().split(1, 1, 4, 2), any(3, 7)),
                unary("concat of views", x -> Tensor.concat(0, x.t(), x.flip(0).t()), any(3, 7)),
                unary("pad of integers", x -> x.t().pad(new long[] {0, 1}, new long[] {1, 0}, 7), integers(3, 4)),
                unary("tile", x -> x.unsqueeze(0).expand(3, 2, 4).reshape(6, 4), any(2, 4)),
                unary("detach", x -> x.detach().mul(x), any(4)).noGradient(),
                unary("linspace, eye and oneHot", x -> Tensor.linspace(0, 1, 5).add(Tensor.eye(5)).add(x.oneHot(5)), indices(5, 5)).noGradient(),
                unary("full", x -> Tensor.full(3, x.dtype(), 2, 3).add(Tensor.ones(3).to(x.dtype())).mul(x), any(2, 3)));
    }

    private static void products() {
        for (long[] mnk : new long[][] {{1, 1, 1}, {13, 7, 5}, {207, 33, 64}, {16, 1, 40}, {1, 31, 9}, {3, 4, 0}, {0, 4, 3}, {64, 64, 700}}) {
            add(row("matmul " + Arrays.toString(mnk), in -> in.get(0).matmul(in.get(1)), any(mnk[0], mnk[2]), any(mnk[2], mnk[1]))
                    .slack(Math.max(4, mnk[2] / 4.0)));
        }
        add(row("matmul transposed", in -> in.get(0).t().matmul(in.get(1).t()), any(9, 5), any(7, 9)).slack(4),
                row("matmul strided", in -> in.get(0).slice(1, 0, 10, 2).matmul(in.get(1).flip(0)), any(4, 10), any(5, 3)).slack(4),
                row("batched", in -> in.get(0).matmul(in.get(1)), any(3, 4, 5), any(3, 5, 2)).slack(4),
                row("batch broadcast", in -> in.get(0).matmul(in.get(1)), any(2, 1, 4, 5), any(3, 5, 2)).slack(4),
                row("batch of equals", in -> in.get(0).expand(3, 4, 5).matmul(in.get(1).expand(3, 5, 2)), any(4, 5), any(5, 2)).slack(4),
                row("batch of permuted", in -> in.get(0).permute(0, 2, 1, 3).matmul(in.get(1).permute(0, 2, 3, 1)), any(2, 4, 3, 5), any(2, 4, 3, 5)).slack(4),
                row("vectors", in -> in.get(0).matmul(in.get(1)), any(9), any(9)).slack(4),
                row("matrix and vector", in -> in.get(0).matmul(in.get(1)), any(4, 9), any(9)).slack(4),
                row("vector and matrix", in -> in.get(0).matmul(in.get(1)), any(9), any(9, 4)).slack(4),
                row("integers multiplied", in -> in.get(0).matmul(in.get(1)), integers(3, 4), integers(4, 5)).noGradient(),
                row("linear", in -> Functional.linear(in.get(0), in.get(1), in.get(2)).relu(), any(2, 3, 5), any(4, 5), any(4)).slack(4),
                row("linear of many rows", in -> Functional.linear(in.get(0), in.get(1), in.get(2)).relu(), any(4, 33, 40), any(70, 40), any(70)).slack(10),
                row("linear without relu", in -> Functional.linear(in.get(0), in.get(1), in.get(2)), any(65, 40), any(70, 40), any(70)).slack(10),
                row("matmul, relu", in -> in.get(0).matmul(in.get(1)).relu(), any(3, 65, 40), any(40, 70)).slack(10),
                row("matmul, bias along the columns", in -> in.get(0).matmul(in.get(1)).add(in.get(2)), any(70, 40), any(40, 70), any(70, 1)).slack(10),
                row("matmul and an equal vector", in -> in.get(0).matmul(in.get(1)).add(in.get(2)).relu(), any(1, 40), any(40, 70), any(70, 70)).slack(10),
                row("linear of NaN, relu", in -> Functional.linear(in.get(0).log(), in.get(1), in.get(2)).relu(), any(33, 2), any(70, 2), any(70))
                        .slack(10).noGradient(),
                row("linear with a part of a bias", in -> Functional.linear(in.get(0), in.get(1), in.get(2).slice(0, 1, 71)).relu(), any(5, 40),
                        any(70, 40), any(72)).slack(10),
                row("linear of NaN", in -> Functional.linear(in.get(0).log(), in.get(1), in.get(2)), any(33, 2), any(70, 2), any(70))
                        .slack(10).noGradient(),
                row("attention", in -> Functional.softmax(in.get(0).matmul(in.get(1).t()).mul(0.4), -1).matmul(in.get(2)), any(2, 5, 4),
                        any(2, 6, 4), any(2, 6, 3)).slack(8));
    }

    private static void indexing() {
        add(row("indexSelect", in -> in.get(0).indexSelect(0, in.get(1)), any(7, 5), indices(7, 4, 3)),
                row("indexSelect by I32", in -> in.get(0).indexSelect(0, in.get(1).to(DType.I32)), any(7, 8), indices(7, 9)),
                row("indexSelect of columns", in -> in.get(0).indexSelect(1, in.get(1)), any(3, 7, 2), indices(7, 9)),
                row("gather", in -> in.get(0).gather(1, in.get(1)), any(3, 7), indices(7, 3, 4)),
                row("gather from a view", in -> in.get(0).t().gather(0, in.get(1).to(DType.I32)), any(3, 7), indices(7, 5, 3)),
                row("indexAdd", in -> in.get(0).indexAdd(0, in.get(1), in.get(2)), any(5, 3), indices(5, 9), any(9, 3)).slack(4),
                row("indexAdd of many rows", in -> in.get(0).indexAdd(0, in.get(1), in.get(2)), any(40, 8), indices(40, 2100), any(2100, 8)).slack(20),
                row("indexAdd to few rows", in -> in.get(0).indexAdd(0, in.get(1).to(DType.I32), in.get(2)), any(2, 3), indices(2, 1100),
                        any(1100, 3)).slack(40),
                row("indexAdd of columns", in -> in.get(0).indexAdd(1, in.get(1), in.get(2)), any(2, 5), indices(5, 9), any(2, 9)).slack(4),
                row("scatterAdd", in -> in.get(0).scatterAdd(0, in.get(1), in.get(2)), any(5, 3), indices(5, 8, 3), any(8, 3)).slack(4),
                row("scatterAdd of integers", in -> in.get(0).scatterAdd(0, in.get(1), in.get(0)), indices(5, 8), indices(5, 8)),
                row("embedding", in -> Functional.embedding(in.get(1), in.get(0)), any(11, 16), indices(11, 2, 6)),
                unary("sort", x -> x.sort(1, false).get(0), distinct(3, 33)), rows("sort descending", in -> in.getFirst().sort(0, true), distinct(13, 2)),
                rows("sort of ties and NaN", in -> in.getFirst().sort(0, false), special(20)).noGradient(),
                rows("sort of ties, descending", in -> in.getFirst().sort(0, true), special(20)).noGradient(),
                rows("topk", in -> in.getFirst().topk(3, -1), distinct(4, 33)), rows("topk of many", in -> in.getFirst().topk(40, -1), distinct(2, 50)),
                rows("sort of integers", in -> in.getFirst().sort(0, false), integers(40)), unary("argsort", x -> x.argsort(0), distinct(20)));
    }

    private static Window window(List<Integer> stride, List<Integer> before, List<Integer> after, List<Integer> dilation) {
        return new Window(stride, before, after, dilation);
    }

    private static void convolutions() {
        add(row("conv2d", in -> Functional.conv2d(in.get(0), in.get(1), in.get(2), 1, 0, 1, 1), any(2, 3, 7, 6), any(4, 3, 3, 3), any(4)).slack(8),
                row("conv2d of one channel, relu", in -> Functional.conv2d(in.get(0), in.get(1), in.get(2), 1, 0, 1, 1).relu(), any(2, 1, 7, 6),
                        any(16, 1, 3, 3), any(16)).slack(8),
                row("conv2d of NaN, relu", in -> Functional.conv2d(in.get(0).log(), in.get(1), in.get(2), 1, 0, 1, 1).relu(), any(2, 1, 7, 6),
                        any(16, 1, 2, 1), any(16)).slack(10).noGradient(),
                row("conv2d of NaN", in -> Functional.conv2d(in.get(0).log(), in.get(1), in.get(2), 1, 0, 1, 1), any(2, 16, 7, 6),
                        any(16, 16, 2, 1), any(16)).slack(10).noGradient(),
                row("conv2d of one image, one channel", in -> Functional.conv2d(in.get(0), in.get(1), in.get(2), 1, 1, 1, 1), any(1, 1, 5, 1),
                        any(1, 1, 3, 3), any(1)).slack(8),
                row("conv3d with a bias", in -> Functional.conv(in.get(0), in.get(1), in.get(2), Functional.window(3, 1, 1, 1), 1).relu(),
                        any(1, 2, 4, 3, 5), any(3, 2, 2, 3, 3), any(3)).slack(8),
                row("conv2d stride, padding", in -> Functional.conv2d(in.get(0), in.get(1), null, 2, 1, 1, 1), any(2, 3, 8, 7), any(5, 3, 3, 3)).slack(8),
                row("conv2d groups, dilation", in -> Functional.conv2d(in.get(0), in.get(1), in.get(2), 1, 2, 2, 2), any(2, 4, 7, 7), any(6, 2, 3, 3),
                        any(6)).slack(8),
                row("depthwise conv2d", in -> Functional.conv2d(in.get(0), in.get(1), null, 1, 1, 1, 16), any(1, 16, 5, 5), any(16, 1, 3, 3)).slack(8),
                row("conv2d of any geometry", in -> Functional.conv(in.get(0), in.get(1), null, window(List.of(2, 1), List.of(0, 2), List.of(1, 0),
                        List.of(1, 2)), 1), any(2, 3, 7, 9), any(4, 3, 2, 3)).slack(8),
                row("conv1d", in -> Functional.conv1d(in.get(0), in.get(1), in.get(2), 2, 1, 1, 1), any(2, 3, 11), any(4, 3, 3), any(4)).slack(8),
                row("conv3d", in -> Functional.conv(in.get(0), in.get(1), null, Functional.window(3, 1, 1, 1), 1), any(1, 2, 4, 3, 5), any(3, 2, 2, 3, 3)).slack(8),
                row("conv of no images", in -> Functional.conv2d(in.get(0), in.get(1), null, 1, 0, 1, 1), any(0, 3, 7, 6), any(4, 3, 3, 3)).slack(8),
                row("transposed conv", in -> Functional.convTranspose(in.get(0), in.get(1), in.get(2), Functional.window(2, 2, 1, 1), 1, 1),
                        any(2, 3, 4, 4), any(3, 5, 3, 3), any(5)).slack(8),
                row("gradient of conv weights", in -> Tensor.record(Convolution.forward(Functional.window(2, 1, 1, 1), 1).backward(
                        Convolution.Direction.BACKWARD_WEIGHTS, Shape.of(4, 3, 3, 3)), in), any(2, 3, 6, 5), any(2, 4, 6, 5)).slack(20),
                row("a small network", in -> {
                    Tensor h = Functional.conv2d(in.get(0), in.get(1), in.get(2), 1, 1, 1, 1).map(Activations::gelu);
                    h = Functional.maxPool2d(h, 2, 2, 0).add(Functional.avgPool2d(h, 2, 2, 0, true));
                    return h.flatten(1, 3).matmul(in.get(3));
                }, any(2, 3, 6, 6), any(8, 3, 3, 3), any(8), any(72, 5)).f32Only().slack(40));
    }

    private static void pooling() {
        for (Pooling.Kind kind : Pooling.Kind.values()) {
            for (int[] g : new int[][] {{2, 2, 2, 0}, {2, 3, 2, 1}, {2, 3, 1, 1}, {1, 2, 2, 0}, {3, 2, 1, 0}}) {
                long[] shape = g[0] == 1 ? new long[] {2, 3, 9} : g[0] == 2 ? new long[] {2, 3, 7, 6} : new long[] {1, 2, 3, 4, 3};
                add(unary(kind + " pooling " + Arrays.toString(g), x -> Functional.pool(kind, x, g[0], g[1], g[2], g[3], g[1] == 3), distinct(shape)).slack(4));
            }
            add(unary(kind + " pooling of channels last", x -> Functional.pool(kind, x.permute(0, 3, 1, 2), 2, 3, 2, 1, false), distinct(2, 7, 6, 20)).slack(4));
        }
        Pooling max = new Pooling(Pooling.Kind.MAX, Pooling.Direction.FORWARD, List.of(3, 2), window(List.of(2, 1), List.of(1, 0), List.of(0, 1),
                List.of(1, 2)), true, null);
        Pooling dilated = new Pooling(Pooling.Kind.MAX, Pooling.Direction.FORWARD, List.of(2, 2), window(List.of(1, 1), List.of(1, 1),
                List.of(1, 1), List.of(3, 1)), true, null); // windows in the padding alone
        Pooling oblong = new Pooling(Pooling.Kind.AVG, Pooling.Direction.FORWARD, List.of(3, 2), window(List.of(2, 1), List.of(1, 0), List.of(1, 0),
                List.of(1, 1)), false, null);
        for (boolean last : new boolean[] {false, true}) {
            UnaryOperator<Tensor> view = last ? x -> x.permute(0, 3, 1, 2) : x -> x; // (N, C, H, W)
            String layout = last ? ", channels last" : "";
            add(unary("max pooling of specials" + layout, x -> Functional.maxPool2d(x, 3, 2, 1), special(3, 6, 5, 20).seen(view)).noGradient(),
                    row("max pooling of specials backward" + layout, in -> maxBackward(in.get(0), in.get(1)), special(2, 6, 5, 20).seen(view),
                            any(2, 6, 5, 20).seen(view)).slack(4).noGradient(),
                    row("max pooling of ties backward" + layout, in -> maxBackward(in.get(0).to(in.get(1).dtype()), in.get(1)),
                            indices(3, 2, 6, 5, 20).seen(view), any(2, 6, 5, 20).seen(view)).slack(4),
                    unary("max pooling of padding" + layout, x -> Functional.pool(dilated, x), distinct(3, 2, 2, 5).seen(view)).noGradient(),
                    row("max pooling of padding backward" + layout, in -> {
                        Tensor x = in.getFirst();
                        Pooling backward = dilated.with(Pooling.Direction.BACKWARD, x.shape());
                        return Tensor.record(backward, List.of(x, Tensor.ones(dilated.outputShape(x.shape()).dims()).to(x.dtype())));
                    }, distinct(3, 2, 2, 5).seen(view)).noGradient(),
                    unary("average pooling of specials" + layout, x -> Functional.avgPool2d(x, 3, 2, 1, false), special(3, 6, 5, 20).seen(view)).noGradient(),
                    unary("max pooling of -infinity" + layout, x -> Functional.maxPool2d(x.mul(0).log(), 2, 2, 0),
                            positive(2, 4, 4, 3).seen(view)).noGradient(),
                    unary("average pooling of an oblong" + layout, x -> Functional.pool(oblong, x), any(3, 7, 5, 4).seen(view)).slack(4),
                    unary("average pooling to one element" + layout, x -> Functional.avgPool2d(x, 5, 5, 2, true), any(1, 1, 5, 1).seen(
                            last ? x -> x.permute(0, 3, 2, 1) : x -> x.reshape(1, 1, 5, 1))).slack(4));
        }
        add(unary("max pooling of any geometry", x -> Functional.pool(max, x), distinct(2, 2, 7, 6)),
                row("gather of max pooling", in -> Tensor.record(max.with(Pooling.Direction.GATHER, null), in), distinct(2, 2, 7, 6), any(2, 2, 7, 6)).noGradient(),
                row("max pooling backward, channels last", in -> Tensor.record(new Pooling(Pooling.Kind.MAX, Pooling.Direction.BACKWARD, List.of(2, 2),
                        Functional.window(2, 2, 0, 1), true, Shape.of(2, 20, 6, 6)), List.of(in.get(0).permute(0, 3, 1, 2), in.get(1))),
                        distinct(2, 6, 6, 20), any(2, 20, 3, 3)).noGradient(),
                unary("adaptive pooling", x -> Functional.adaptiveAvgPool2d(x, 3, 2), any(2, 3, 7, 6)).slack(4),
                unary("global pooling", x -> Functional.adaptiveAvgPool2d(x, 1, 1), any(2, 3, 7, 6)).slack(4));
    }

    /** The gradient of 3x3 max pooling, padded so that {@code y} is as large as {@code x}. */
    private static Tensor maxBackward(Tensor x, Tensor dy) {
        return Tensor.record(new Pooling(Pooling.Kind.MAX, Pooling.Direction.BACKWARD, List.of(3, 3), Functional.window(2, 1, 1, 1), true,
                x.shape()), List.of(x, dy));
    }

    private static void fused() {
        for (long[] shape : new long[][] {{1, 1}, {4, 13}, {2, 3, 207}, {0, 3}, {5}}) {
            add(unary("softmax " + Shape.of(shape), x -> Functional.softmax(x, -1), any(shape)),
                    unary("logSoftmax " + Shape.of(shape), x -> Functional.logSoftmax(x.mul(5), -1), any(shape)).slack(8));
        }
        add(unary("softmax along an axis", x -> Functional.softmax(x, 1), any(2, 5, 3)),
                row("softmax backward", in -> Tensor.record(new Softmax.Backward(false), in), any(3, 7), any(3, 7)),
                row("logSoftmax backward", in -> Tensor.record(new Softmax.Backward(true), in), any(3, 7), any(3, 7)).slack(8));
        for (double smoothing : new double[] {0, 0.1}) {
            add(row("crossEntropy " + smoothing, in -> Functional.crossEntropy(in.get(0), in.get(1), 2, smoothing), any(13, 10), indices(10, 13)).slack(4),
                    row("crossEntropy backward " + smoothing, in -> Tensor.record(new CrossEntropy.Backward(2, smoothing),
                            List.of(in.get(0), in.get(1), in.get(2).to(in.get(0).dtype().computeType()))), any(13, 10),
                            indices(10, 13), any(13)).slack(4),
                    rows("crossEntropy with its gradient " + smoothing, in -> Tensor.recordAll(new CrossEntropy.ForwardBackward(2, smoothing),
                            List.of(in.get(0), in.get(1), in.get(2).to(in.get(0).dtype().computeType()))), any(13, 10),
                            indices(10, 13), any(13)).slack(4));
        }
        for (long[] shape : new long[][] {{1, 13}, {3, 4, 64}, {5, 207}}) {
            long d = shape[shape.length - 1];
            add(rows("layerNorm " + Shape.of(shape), in -> Tensor.recordAll(new LayerNorm(1e-5), in), any(shape), any(d), any(d)).slack(20),
                    row("layerNorm, y only " + Shape.of(shape), in -> Functional.layerNorm(in.get(0), in.get(1), in.get(2), 1e-5), any(shape), any(d), any(d)).slack(20),
                    rows("rmsNorm " + Shape.of(shape), in -> Tensor.recordAll(new RmsNorm(1e-6), in), any(shape), any(d)).slack(20),
                    row("rmsNorm, y only " + Shape.of(shape), in -> Functional.rmsNorm(in.get(0), in.get(1), 1e-6), any(shape), any(d)).slack(20));
        }
        for (long[] shape : new long[][] {{13, 3}, {2, 5, 7}, {3, 4, 5, 6}, {1, 1, 5, 1}, {2, 3, 2, 3, 2}, {2, 33, 3, 3}}) {
            batchNorm("batchNorm " + Shape.of(shape), any(shape), any(shape), shape[1]);
        }
        UnaryOperator<Tensor> view = x -> x.permute(0, 3, 1, 2);
        batchNorm("batchNorm channels last", any(2, 5, 3, 13).seen(view), any(2, 5, 3, 13).seen(view), 13);
        batchNorm("batchNorm of a slice", any(2, 3, 4, 3).seen(x -> x.slice(3, 1, 3)), any(2, 3, 4, 2), 3);
        add(rows("layerNorm backward", in -> {
                    DType wide = in.getFirst().dtype().computeType();
                    return Tensor.recordAll(new LayerNorm.Backward(), List.of(in.get(0), in.get(1), in.get(2).to(wide), in.get(3).to(wide), in.get(4)));
                }, any(4, 13), any(13), any(4, 1), positive(4, 1), any(4, 13)).slack(20),
                rows("rmsNorm backward", in -> Tensor.recordAll(new RmsNorm.Backward(), List.of(in.get(0), in.get(1),
                        in.get(2).to(in.get(2).dtype().computeType()), in.get(3))), any(4, 13), any(13), positive(4, 1), any(4, 13)).slack(20),
                row("rmsNorm of large numbers", in -> Functional.rmsNorm(in.get(0).mul(1000), in.get(1), 1e-6), any(4, 13), any(13)).noGradient().slack(20),
                row("layerNorm far from 0", in -> Functional.layerNorm(in.get(0).add(30), in.get(1), in.get(2), 1e-5), any(4, 13), any(13), any(13))
                        .noGradient().slack(100),
                row("normalize", in -> Functional.normalize(in.get(0), in.get(1), in.get(2), in.get(3), in.get(4), 1e-5), any(2, 3, 4, 5), any(3),
                        positive(3), any(3), any(3)).slack(8),
                rows("batchNorm of specials", in -> Functional.batchNorm(in.get(0), in.get(1), in.get(2), 1e-5), special(7, 10), any(10), any(10)).noGradient(),
                rows("batchNorm of equals", in -> Functional.batchNorm(in.get(0).mul(0).add(3), in.get(1), in.get(2), 1e-5), any(4, 3, 2), any(3),
                        any(3)).noGradient().slack(4),
                row("batchNorm far from 0", in -> Functional.batchNorm(in.get(0).add(30), in.get(1), in.get(2), 1e-5).getFirst(), any(4, 3, 5), any(3),
                        any(3)).f32Only().noGradient().slack(100),
                row("gradient of batchNorm's statistics", in -> {
                    List<Tensor> y = Functional.batchNorm(in.get(0), in.get(1), in.get(2), 0.1);
                    return y.get(0).add(y.get(1)).mul(y.get(2).add(1).sqrt());
                }, any(13, 3), any(3), any(3)).f32Only().slack(20),
                row("groupNorm", in -> Functional.groupNorm(in.get(0), 2, in.get(1), in.get(2), 1e-5), any(2, 4, 5), any(4), any(4)).slack(20));
    }

    private static void batchNorm(String name, Arg x, Arg dy, long c) {
        add(rows(name, in -> Functional.batchNorm(in.get(0), in.get(1), in.get(2), 1e-2), x, any(c), any(c)).slack(20),
                rows(name + " backward", in -> {
                    DType wide = in.getFirst().dtype().computeType();
                    return Tensor.recordAll(new BatchNorm.Backward(1e-2), List.of(in.get(0), in.get(1).to(wide), in.get(2).to(wide),
                            in.get(3).to(wide), in.get(4)));
                }, x, any(c), any(c), positive(c), dy).slack(20));
    }

    private static void attention() {
        add(row("attention, causal", in -> Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2), true),
                unit(2, 2, 9, 8), unit(2, 2, 9, 8), unit(2, 2, 9, 8)).slack(20),
                row("attention, shared key heads, lengths", in -> Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2),
                        in.get(3).add(Tensor.scalar(1L, DType.I64)).to(DType.I32), false),
                        unit(3, 4, 5, 16), unit(3, 2, 7, 16), unit(3, 2, 7, 16), indices(6, 3)).slack(20),
                row("attention, bias", in -> Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2), null, in.get(3), false, 0, null),
                        unit(2, 3, 5, 8), unit(2, 3, 6, 8), unit(2, 3, 6, 8), unit(3, 5, 6)).slack(20),
                row("attention, dropout", in -> Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2), null, null, true, 0.3,
                        new Generator(5)), unit(1, 2, 6, 8), unit(1, 2, 6, 8), unit(1, 2, 6, 8)).f32Only().slack(20),
                rows("attention backward", in -> Gradients.of(Functional.scaledDotProductAttention(in.get(0), in.get(1), in.get(2), true).mul(in.get(3))
                        .sum(), in.get(0), in.get(1), in.get(2)), unit(2, 4, 9, 8), unit(2, 2, 9, 8), unit(2, 2, 9, 8), unit(2, 4, 9, 8)).slack(20));
    }

    private static void recurrent() {
        add(recurrent(RecurrentCell.TANH, false, false, 3, 4, 5, 7), recurrent(RecurrentCell.TANH, true, true, 3, 4, 5, 7),
                recurrent(RecurrentCell.RELU, true, false, 2, 3, 4, 5), recurrent(RecurrentCell.LSTM, false, false, 3, 5, 4, 7),
                recurrent(RecurrentCell.LSTM, true, true, 3, 4, 5, 7), recurrent(RecurrentCell.LSTM, false, true, 35, 3, 2, 17),
                recurrent(RecurrentCell.LSTM, true, false, 1, 1, 1, 1), recurrent(RecurrentCell.GRU, false, true, 3, 5, 4, 7),
                recurrent(RecurrentCell.GRU, true, false, 33, 3, 4, 16), recurrent(RecurrentCell.LSTM, false, false, 0, 3, 2, 5),
                rows("last state of an LSTM", in -> Functional.recurrent(RecurrentCell.LSTM, false, in.get(0), in.get(1), in.get(2), in.get(3),
                        in.get(4), in.subList(5, 7), null).subList(2, 3), arguments(RecurrentCell.LSTM, false, 2, 3, 4, 5)).slack(20));
        add(recurrentBackward(RecurrentCell.TANH, false, false, 3, 2, 5, 7), recurrentBackward(RecurrentCell.RELU, true, false, 2, 3, 4, 5),
                recurrentBackward(RecurrentCell.LSTM, true, true, 35, 3, 2, 17), recurrentBackward(RecurrentCell.LSTM, false, false, 3, 4, 5, 7),
                recurrentBackward(RecurrentCell.GRU, false, true, 3, 4, 5, 7), recurrentBackward(RecurrentCell.GRU, true, false, 33, 3, 4, 16));
        for (RecurrentCell cell : List.of(RecurrentCell.RELU, RecurrentCell.LSTM, RecurrentCell.GRU)) {
            boolean lengths = cell == RecurrentCell.GRU;
            List<Arg> scan = new ArrayList<>(List.of(arguments(cell, lengths, 2, 3, cell.gates() * 4, 4)));
            scan.subList(1, 4).clear(); // W, U, b: what is left of them takes the place of W x + b, U, d
            scan.add(1, unit(cell.gates() * 4, 4));
            add(rows(cell + " scan", in -> Tensor.recordAll(new RecurrentScan(cell, true), in), scan.toArray(Arg[]::new)).slack(20));
            List<Arg> back = new ArrayList<>(scan.subList(1, scan.size()));
            back.remove(1);
            for (int i = 0; i < cell.states(); i++) {
                back.add(unit(2, 3, 4));
            }
            if (cell.kept() > 0) {
                back.add(unit(2, 3, cell.kept() * 4));
            }
            back.add(unit(2, 3, 4));
            for (int i = 0; i < cell.states(); i++) {
                back.add(unit(2, 4));
            }
            add(rows(cell + " scan backward", in -> Tensor.recordAll(new RecurrentScan.Backward(cell, false), in), back.toArray(Arg[]::new)).slack(20));
        }
    }

    /** The gradient on its own: its inputs are forward's, then as many again as forward has outputs. */
    private static Case recurrentBackward(RecurrentCell cell, boolean reverse, boolean lengths, long batch, long steps, long in, long hidden) {
        List<Arg> arguments = new ArrayList<>(List.of(arguments(cell, lengths, batch, steps, in, hidden)));
        arguments.add(unit(batch, steps, hidden));
        for (int i = 0; i < cell.states(); i++) {
            arguments.add(unit(batch, hidden));
        }
        return rows(cell + (reverse ? " reverse" : "") + " backward" + (lengths ? " with lengths " : " ") + Shape.of(batch, steps, in, hidden),
                x -> Tensor.recordAll(new Recurrent.Backward(cell, reverse), x), arguments.toArray(Arg[]::new)).slack(40).noGradient();
    }

    private static Arg unit(long... shape) {
        return new Arg(Values.UNIT, 0, x -> x, shape);
    }

    private static Arg[] arguments(RecurrentCell cell, boolean lengths, long batch, long steps, long in, long hidden) {
        long gates = cell.gates() * hidden;
        List<Arg> arguments = new ArrayList<>(List.of(unit(batch, steps, in), unit(gates, in), unit(gates, hidden), unit(gates), unit(gates)));
        for (int i = 0; i < cell.states(); i++) {
            arguments.add(unit(batch, hidden));
        }
        if (lengths) {
            arguments.add(indices(steps + 1, batch));
        }
        return arguments.toArray(Arg[]::new);
    }

    private static Case recurrent(RecurrentCell cell, boolean reverse, boolean lengths, long batch, long steps, long in, long hidden) {
        return rows(cell + (reverse ? " reverse" : "") + (lengths ? " with lengths " : " ") + Shape.of(batch, steps, in, hidden),
                x -> Functional.recurrent(cell, reverse, x.get(0), x.get(1), x.get(2), x.get(3), x.get(4), x.subList(5, 5 + cell.states()),
                        lengths ? x.getLast() : null), arguments(cell, lengths, batch, steps, in, hidden)).slack(20);
    }

    private static void others() {
        add(unary("rand", x -> new Generator(42).rand(1003).add(x), any(1)).f32Only(), unary("randn", x -> new Generator(-7).randn(7, 31).add(x), any(1)).f32Only().slack(4),
                unary("randint", x -> new Generator(3).randint(-3, 9, 100).add(x), indices(2, 1)),
                unary("randperm", x -> new Generator(3).randperm(50).add(x), indices(2, 1)),
                row("dropout", in -> Functional.dropout(in.getFirst(), 0.3, new Generator(5)), any(13, 17)).f32Only(),
                row("gradient of a gradient", in -> Gradients.of(in.getFirst().tanh().mul(in.get(1)).sum(), in.getFirst()).getFirst(), any(9), any(9)).f32Only(),
                row("recompute", in -> recomputed(in.get(0), in.get(1)), any(5, 5), any(5, 5)).f32Only().slack(8),
                row("gradient of recompute", in -> Gradients.of(recomputed(in.get(0), in.get(1)).sum(), in.get(0)).getFirst(), any(5, 5), any(5, 5))
                        .f32Only().slack(8));
    }

    private static Tensor recomputed(Tensor x, Tensor w) {
        return Functional.recompute(y -> Functional.dropout(y.matmul(w).tanh(), 0.3, new Generator(5)).add(y), x.mul(2)).mul(w);
    }
}
