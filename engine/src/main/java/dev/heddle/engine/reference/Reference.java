// The oracle of the tests: every op in plain loops, in double precision, with nothing shared with the fast backends.
package dev.heddle.engine.reference;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Philox;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Graph;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * Evaluates a graph node by node. Values are row-major arrays: {@code long[]} for {@code I64}, {@code double[]} for everything
 * else. Floats are not rounded to their dtype on the way, only inputs come rounded.
 */
public final class Reference {
    private Reference() {}

    /**
     * The roots of a graph without fused ops.
     *
     * @param sources the value of each source, in the order of the graph's nodes
     * @return the value of each root
     */
    public static Object[] run(Graph graph, Object[] sources) {
        Object[] values = new Object[graph.values()];
        int next = 0;
        for (int node = 0; node < graph.nodes(); node++) {
            int first = graph.firstValue(node);
            if (graph.op(node) instanceof Source) {
                for (int k = 0; k < graph.outputs(node).length; k++) {
                    values[first + k] = sources[next++];
                }
                continue;
            }
            Object[] inputs = Arrays.stream(graph.inputs(node)).mapToObj(v -> values[v]).toArray();
            Object[] results = apply(graph.op(node), inputs, graph.inputSpecs(node), graph.outputs(node));
            System.arraycopy(results, 0, values, first, results.length);
        }
        return Arrays.stream(graph.roots()).mapToObj(v -> values[v]).toArray();
    }

    private static Object[] apply(Op op, Object[] in, List<Spec> specs, Spec[] out) {
        return switch (op) {
            case Source s -> throw new IllegalStateException("a source is given");
            case Fused f -> throw new IllegalStateException(f.name() + " should have been decomposed");
            case Elementwise e -> elementwise(e, in, specs, out);
            case Reduce r -> new Object[] {reduce(r, in[0], specs.getFirst(), out[0])};
            case MatMul m -> new Object[] {matmul(in, specs, out[0])};
            case Movement m -> new Object[] {move(m, in, specs, out[0])};
            case Gather g -> new Object[] {gather(g, in, specs, out[0])};
            case Scatter s -> new Object[] {scatter(s, in, specs)};
            case Convolution c -> new Object[] {convolve(c, in, specs, out[0])};
            case Pooling p -> new Object[] {pool(p, in, specs, out[0])};
            case Random r -> new Object[] {random(r, ((long[]) in[0])[0], ((long[]) in[1])[0])};
            case Sort s -> sort(s, in[0], specs.getFirst(), out);
        };
    }

    // ---- arrays

    private static Object zeros(Spec spec) {
        int n = Math.toIntExact(spec.shape().elements());
        return spec.dtype() == DType.I64 ? new long[n] : new double[n];
    }

    private static double get(Object values, long i) {
        return values instanceof long[] longs ? longs[(int) i] : ((double[]) values)[(int) i];
    }

    private static void copy(Object from, long i, Object to, long k) {
        System.arraycopy(from, (int) i, to, (int) k, 1);
    }

    private static long integer(Object values, long i) {
        return values instanceof long[] longs ? longs[(int) i] : (long) ((double[]) values)[(int) i];
    }

    private static void put(Object values, long i, Object value) {
        if (value instanceof Long exact) {
            ((long[]) values)[(int) i] = exact;
        } else {
            ((double[]) values)[(int) i] = (double) value;
        }
    }

    /** An integer result as its dtype holds it. */
    private static Object wrapped(long value, DType dtype) {
        return dtype == DType.I64 ? (Object) value : (Object) Expressions.wrap(value, dtype);
    }

    private static long[] index(Shape shape, long flat) {
        long[] index = new long[shape.rank()];
        long rest = flat;
        for (int i = index.length - 1; i >= 0; i--) {
            index[i] = rest % shape.dim(i);
            rest /= shape.dim(i);
        }
        return index;
    }

    private static long flat(Shape shape, long[] index) {
        long flat = 0;
        for (int i = 0; i < index.length; i++) {
            flat = flat * shape.dim(i) + index[i];
        }
        return flat;
    }

    /** The place in a tensor that broadcasts, of an index into the wider shape. */
    private static long broadcast(Shape shape, long[] index) {
        long[] own = new long[shape.rank()];
        for (int i = 0; i < own.length; i++) {
            own[i] = shape.dim(i) == 1 ? 0 : index[i + index.length - own.length];
        }
        return flat(shape, own);
    }

    // ---- families

    private static Object[] elementwise(Elementwise op, Object[] in, List<Spec> specs, Spec[] out) {
        Object[] results = new Object[out.length];
        Object[] scalars = new Object[in.length];
        for (int k = 0; k < out.length; k++) {
            results[k] = zeros(out[k]);
            for (long i = 0; i < out[k].shape().elements(); i++) {
                long[] index = index(out[k].shape(), i);
                for (int a = 0; a < in.length; a++) {
                    long at = broadcast(specs.get(a).shape(), index);
                    scalars[a] = in[a] instanceof long[] longs ? (Object) longs[(int) at] : (Object) ((double[]) in[a])[(int) at];
                }
                put(results[k], i, Expressions.evaluate(op.outputs().get(k), scalars));
            }
        }
        return results;
    }

    private static Object reduce(Reduce op, Object x, Spec in, Spec out) {
        Shape kept = op.keptShape(in.shape());
        List<List<Long>> members = new ArrayList<>(); // by output, the places in x in order
        for (long i = 0; i < kept.elements(); i++) {
            members.add(new ArrayList<>());
        }
        for (long i = 0; i < in.shape().elements(); i++) {
            members.get((int) broadcast(kept, index(in.shape(), i))).add(i);
        }
        Object result = zeros(out);
        for (int o = 0; o < members.size(); o++) {
            List<Long> places = members.get(o);
            if (result instanceof long[] longs) {
                longs[o] = reduceExactly(op.kind(), x, places);
            } else {
                ((double[]) result)[o] = reduce(op.kind(), x, places);
            }
        }
        return result;
    }

    private static double reduce(Reduce.Kind kind, Object x, List<Long> places) {
        double[] values = places.stream().mapToDouble(p -> get(x, p)).toArray();
        return switch (kind) {
            case SUM -> Arrays.stream(values).sum();
            case MEAN -> Arrays.stream(values).sum() / values.length;
            case PROD -> Arrays.stream(values).reduce(1, (a, b) -> a * b);
            case MAX -> Arrays.stream(values).reduce(Double.NEGATIVE_INFINITY, Math::max);
            case MIN -> Arrays.stream(values).reduce(Double.POSITIVE_INFINITY, Math::min);
            case ARGMAX, ARGMIN -> throw new IllegalStateException("gives I64");
        };
    }

    private static long reduceExactly(Reduce.Kind kind, Object x, List<Long> places) {
        long[] exact = places.stream().mapToLong(p -> integer(x, p)).toArray();
        return switch (kind) {
            case SUM -> Arrays.stream(exact).sum();
            case PROD -> Arrays.stream(exact).reduce(1, (a, b) -> a * b);
            case MAX -> Arrays.stream(exact).max().orElseThrow();
            case MIN -> Arrays.stream(exact).min().orElseThrow();
            case MEAN -> throw new IllegalStateException("needs floats");
            case ARGMAX, ARGMIN -> {
                int best = 0;
                for (int i = 1; i < exact.length; i++) {
                    if (beats(kind, x, places.get(i), places.get(best))) {
                        best = i;
                    }
                }
                yield best;
            }
        };
    }

    private static boolean beats(Reduce.Kind kind, Object x, long a, long b) {
        if (x instanceof long[] longs) {
            return kind == Reduce.Kind.ARGMAX ? longs[(int) a] > longs[(int) b] : longs[(int) a] < longs[(int) b];
        }
        double p = get(x, a);
        double q = get(x, b);
        if (Double.isNaN(p) || Double.isNaN(q)) {
            return Double.isNaN(p) && !Double.isNaN(q);
        }
        return kind == Reduce.Kind.ARGMAX ? p > q : p < q;
    }

    private static Object matmul(Object[] in, List<Spec> specs, Spec out) {
        Shape a = specs.get(0).shape();
        Shape b = specs.get(1).shape();
        int rank = out.shape().rank();
        Object result = zeros(out);
        for (long i = 0; i < out.shape().elements(); i++) {
            long[] index = index(out.shape(), i);
            double sum = 0;
            long exact = 0;
            for (long k = 0; k < a.dim(-1); k++) {
                long[] ia = index.clone();
                ia[rank - 1] = k;
                long[] ib = index.clone();
                ib[rank - 2] = k;
                long pa = matrixPlace(a, ia);
                long pb = matrixPlace(b, ib);
                if (out.dtype().isFloat()) {
                    sum += get(in[0], pa) * get(in[1], pb);
                } else {
                    exact += integer(in[0], pa) * integer(in[1], pb);
                }
            }
            put(result, i, out.dtype().isFloat() ? (Object) sum : wrapped(exact, out.dtype()));
        }
        return result;
    }

    /** Like broadcasting, but the last two axes, which may be 1 long, never repeat. */
    private static long matrixPlace(Shape shape, long[] index) {
        long[] own = new long[shape.rank()];
        for (int i = 0; i < own.length; i++) {
            own[i] = i < own.length - 2 && shape.dim(i) == 1 ? 0 : index[i + index.length - own.length];
        }
        return flat(shape, own);
    }

    private static Object move(Movement op, Object[] in, List<Spec> specs, Spec out) {
        Object result = zeros(out);
        Shape from = specs.getFirst().shape();
        if (op instanceof Movement.Reshape || op instanceof Movement.After) {
            System.arraycopy(in[0], 0, result, 0, Math.toIntExact(from.elements()));
            return result;
        }
        for (long i = 0; i < out.shape().elements(); i++) {
            long[] index = index(out.shape(), i);
            switch (op) {
                case Movement.Permute(List<Integer> order) -> {
                    long[] source = new long[index.length];
                    for (int k = 0; k < index.length; k++) {
                        source[order.get(k)] = index[k];
                    }
                    copy(in[0], flat(from, source), result, i);
                }
                case Movement.Expand e -> copy(in[0], broadcast(from, index), result, i);
                case Movement.Slice s -> {
                    for (int k = 0; k < index.length; k++) {
                        index[k] = s.starts().get(k) + index[k] * s.steps().get(k);
                    }
                    copy(in[0], flat(from, index), result, i);
                }
                case Movement.Flip f -> {
                    for (int axis : f.axes()) {
                        index[axis] = from.dim(axis) - 1 - index[axis];
                    }
                    copy(in[0], flat(from, index), result, i);
                }
                case Movement.Pad p -> {
                    boolean inside = true;
                    for (int k = 0; k < index.length; k++) {
                        index[k] -= p.before().get(k);
                        inside &= index[k] >= 0 && index[k] < from.dim(k);
                    }
                    if (inside) {
                        copy(in[0], flat(from, index), result, i);
                    } else {
                        put(result, i, Expressions.cast(p.value(), out.dtype()));
                    }
                }
                case Movement.Concat(int axis) -> {
                    int piece = 0;
                    while (index[axis] >= specs.get(piece).shape().dim(axis)) {
                        index[axis] -= specs.get(piece++).shape().dim(axis);
                    }
                    copy(in[piece], flat(specs.get(piece).shape(), index), result, i);
                }
                case Movement.Reshape r -> throw new IllegalStateException();
                case Movement.After a -> throw new IllegalStateException();
            }
        }
        return result;
    }

    /** The place in {@code x} that element {@code i} of a gather's output, or of a scatter's source, stands for. */
    private static long indexed(String name, boolean slices, int axis, Shape x, Object index, Shape indexShape, Shape shape, long i) {
        long[] at = index(shape, i);
        long[] place = new long[x.rank()];
        long wanted;
        if (slices) {
            wanted = (long) get(index, flat(indexShape, Arrays.copyOfRange(at, axis, axis + indexShape.rank())));
            for (int k = 0; k < place.length; k++) {
                place[k] = k < axis ? at[k] : k == axis ? wanted : at[k + indexShape.rank() - 1];
            }
        } else {
            wanted = (long) get(index, i);
            System.arraycopy(at, 0, place, 0, place.length);
            place[axis] = wanted;
        }
        if (wanted < 0 || wanted >= x.dim(axis)) {
            throw new IndexOutOfBoundsException(name + ": index " + wanted + " for an axis of " + x.dim(axis));
        }
        return flat(x, place);
    }

    private static Object gather(Gather op, Object[] in, List<Spec> specs, Spec out) {
        Object result = zeros(out);
        for (long i = 0; i < out.shape().elements(); i++) {
            copy(in[0], indexed(op.name(), op instanceof Gather.Slices, op.axis(), specs.get(0).shape(), in[1], specs.get(1).shape(),
                    out.shape(), i), result, i);
        }
        return result;
    }

    private static Object scatter(Scatter op, Object[] in, List<Spec> specs) {
        Object result = in[0] instanceof long[] longs ? longs.clone() : ((double[]) in[0]).clone();
        Shape source = specs.get(2).shape();
        DType dtype = specs.get(0).dtype();
        for (long i = 0; i < source.elements(); i++) {
            long place = indexed(op.name(), op instanceof Scatter.AddSlices, op.axis(), specs.get(0).shape(), in[1],
                    specs.get(1).shape(), source, i);
            put(result, place, dtype.isFloat() ? (Object) (get(result, place) + get(in[2], i))
                    : wrapped(integer(result, place) + integer(in[2], i), dtype));
        }
        return result;
    }

    private static Object convolve(Convolution op, Object[] in, List<Spec> specs, Spec out) {
        Shape x = op.direction() == Convolution.Direction.BACKWARD_DATA ? out.shape() : specs.get(0).shape();
        Shape w = op.direction() == Convolution.Direction.BACKWARD_WEIGHTS ? out.shape() : specs.get(1).shape();
        Shape y = op.outputShape(x, w);
        double[] result = new double[Math.toIntExact(out.shape().elements())];
        long perGroup = w.dim(1);
        long outPerGroup = w.dim(0) / op.groups();
        for (long i = 0; i < y.elements(); i++) { // every product of an x and a w that goes into a y
            long[] at = index(y, i);
            for (long k = 0; k < w.elements() / Math.max(1, w.dim(0)); k++) {
                long[] tap = index(w, at[1] * (w.elements() / w.dim(0)) + k);
                long[] source = new long[x.rank()];
                source[0] = at[0];
                source[1] = at[1] / outPerGroup * perGroup + tap[1];
                boolean inside = true;
                for (int s = 0; s < op.window().dims(); s++) {
                    source[s + 2] = at[s + 2] * op.window().stride().get(s) - op.window().before().get(s)
                            + tap[s + 2] * op.window().dilation().get(s);
                    inside &= source[s + 2] >= 0 && source[s + 2] < x.dim(s + 2);
                }
                if (!inside) {
                    continue;
                }
                int px = (int) flat(x, source);
                int pw = (int) flat(w, tap);
                switch (op.direction()) {
                    case FORWARD -> result[(int) i] += get(in[0], px) * get(in[1], pw);
                    case BACKWARD_DATA -> result[px] += get(in[0], i) * get(in[1], pw);
                    case BACKWARD_WEIGHTS -> result[pw] += get(in[0], px) * get(in[1], i);
                }
            }
        }
        return result;
    }

    private static Object pool(Pooling op, Object[] in, List<Spec> specs, Spec out) {
        boolean backward = op.direction() == Pooling.Direction.BACKWARD;
        Shape x = backward ? out.shape() : specs.getFirst().shape();
        Shape y = op.outputShape(x);
        double[] result = new double[Math.toIntExact(out.shape().elements())];
        long[] taps = op.kernel().stream().mapToLong(k -> k).toArray();
        for (long i = 0; i < y.elements(); i++) {
            long[] at = index(y, i);
            List<Integer> places = new ArrayList<>();
            int padded = 0;
            for (long t = 0; t < Shape.of(taps).elements(); t++) {
                long[] tap = index(Shape.of(taps), t);
                long[] source = at.clone();
                boolean inside = true;
                for (int s = 0; s < taps.length; s++) {
                    source[s + 2] = at[s + 2] * op.window().stride().get(s) - op.window().before().get(s)
                            + tap[s] * op.window().dilation().get(s);
                    inside &= source[s + 2] >= 0 && source[s + 2] < x.dim(s + 2);
                }
                if (inside) {
                    places.add((int) flat(x, source));
                } else {
                    padded++;
                }
            }
            double divisor = places.size() + (op.countPadding() ? padded : 0);
            int best = -1;
            for (int place : places) {
                if (op.kind() == Pooling.Kind.AVG && backward) {
                    result[place] += get(in[0], i) / divisor;
                } else if (op.kind() == Pooling.Kind.AVG) {
                    result[(int) i] += get(in[0], place);
                } else if (best < 0 || get(in[0], place) > get(in[0], best)
                        || Double.isNaN(get(in[0], place)) && !Double.isNaN(get(in[0], best))) {
                    best = place;
                }
            }
            if (op.kind() == Pooling.Kind.AVG && !backward) {
                result[(int) i] /= divisor;
            } else if (op.kind() == Pooling.Kind.MAX && best < 0) { // dilated taps may all lie in the padding
                result[(int) i] = op.direction() == Pooling.Direction.FORWARD ? Double.NEGATIVE_INFINITY : result[(int) i];
            } else if (op.kind() == Pooling.Kind.MAX) {
                switch (op.direction()) {
                    case FORWARD -> result[(int) i] = get(in[0], best);
                    case BACKWARD -> result[best] += get(in[1], i);
                    case GATHER -> result[(int) i] = get(in[1], best);
                }
            }
        }
        return result;
    }

    private static double[] random(Random op, long seed, long offset) {
        double[] result = new double[Math.toIntExact(op.shape().elements())];
        for (int i = 0; i < result.length; i++) {
            long block = offset + i / 4;
            if (op.distribution() == Random.Distribution.UNIFORM) {
                result[i] = (Philox.word(seed, block, i % 4) >>> 8) * 0x1p-24;
            } else {
                int pair = i % 4 / 2 * 2;
                double a = ((Philox.word(seed, block, pair) >>> 8) + 1) * 0x1p-24;
                double b = 2 * Math.PI * ((Philox.word(seed, block, pair + 1) >>> 8) * 0x1p-24);
                result[i] = Math.sqrt(-2 * Math.log(a)) * (i % 2 == 0 ? Math.cos(b) : Math.sin(b));
            }
        }
        return result;
    }

    private static Object[] sort(Sort op, Object x, Spec in, Spec[] out) {
        Object values = zeros(out[0]);
        long[] places = new long[Math.toIntExact(out[1].shape().elements())];
        Shape lanes = in.shape().with(op.axis(), 1);
        for (long lane = 0; lane < lanes.elements(); lane++) {
            long[] index = index(lanes, lane);
            List<Long> order = new ArrayList<>();
            for (long i = 0; i < in.shape().dim(op.axis()); i++) {
                order.add(i);
            }
            Comparator<Long> ascending = (a, b) -> {
                index[op.axis()] = a;
                long pa = flat(in.shape(), index);
                index[op.axis()] = b;
                long pb = flat(in.shape(), index);
                return x instanceof long[] longs ? Long.compare(longs[(int) pa], longs[(int) pb])
                        : Double.compare(get(x, pa) + 0.0, get(x, pb) + 0.0);
            };
            order.sort(op.descending() ? ascending.reversed() : ascending);
            for (int k = 0; k < op.k(); k++) {
                index[op.axis()] = order.get(k);
                long from = flat(in.shape(), index);
                index[op.axis()] = k;
                long to = flat(out[0].shape(), index);
                copy(x, from, values, to);
                places[(int) to] = order.get(k);
            }
        }
        return new Object[] {values, places};
    }
}
