// The tensor users hold: an output of a recorded op. Every method here checks its operands, records, and returns.
package dev.heddle.engine;

import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Expr.BinaryOp;
import dev.heddle.engine.op.Expr.Comparison;
import dev.heddle.engine.op.Expr.UnaryOp;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * An n-dimensional array, immutable in its value. Operations check shapes and dtypes at once, throw
 * {@link ShapeException} if they do not fit, and otherwise only record what is to be computed; the values are computed
 * when somebody needs them: {@link #item()}, {@link #toFloatArray()}, {@link #eval}, or an optimizer's step.
 *
 * <p>Conventions: axes may be negative (counted from the last); two operands broadcast against each other as in NumPy
 * and promote to a common dtype ({@link DType#promote}); a Java number takes the tensor's dtype, or {@code F32} if it has
 * a fraction and the tensor is not floating. Tensors may be used from several threads; one evaluation runs at a time.
 *
 * <p>Further operations: {@link Functional} (convolution, pooling, softmax, norms), {@link Activations}, {@link Generator}
 * (random tensors).
 */
public final class Tensor implements AutoCloseable {
    final Node node;
    final int output;

    Tensor(Node node, int output) {
        this.node = node;
        this.output = output;
    }

    // ---- recording

    /** Records an op of one output, after checking its inputs. */
    static Tensor record(Op op, List<Tensor> inputs) {
        return recordAll(op, inputs).getFirst();
    }

    /**
     * Records any op, also one of your own that implements {@link dev.heddle.engine.op.Fused}.
     *
     * @return its outputs
     * @throws ShapeException if the op refuses the inputs
     */
    public static List<Tensor> recordAll(Op op, List<Tensor> inputs) {
        return recordAll(op, inputs, false, false);
    }

    static List<Tensor> recordAll(Op op, List<Tensor> inputs, boolean detached, boolean trainable) {
        Tensor[] edges = inputs.toArray(new Tensor[0]);
        Spec[] specs = new Spec[edges.length];
        boolean requiresGrad = false;
        Device device = null;
        for (int i = 0; i < edges.length; i++) {
            specs[i] = edges[i].spec();
            requiresGrad |= edges[i].node.requiresGrad;
            Device own = edges[i].node.device;
            if (device != null && own != null && !own.equals(device)) {
                throw new DeviceMismatchException(op.name() + ": one input is on " + device + ", another, " + specs[i] + ", on " + own
                        + "; move one of them with to(Device)");
            }
            device = own != null ? own : device;
        }
        List<Spec> outputs = op.infer(Arrays.asList(specs));
        Node node = new Node(op, edges, outputs, requiresGrad && !detached || trainable);
        node.device = device;
        node.detached = detached;
        if (Debug.checkNaN() || Debug.trace()) {
            node.origin = Evaluation.userCode();
        }
        Recorder recorder = Recorder.current();
        recorder.add(node);
        if (Debug.eager() && !recorder.compiling()) {
            Evaluation.evaluateEagerly(node);
        }
        if (outputs.size() == 1) {
            return List.of(new Tensor(node, 0));
        }
        List<Tensor> results = new ArrayList<>(outputs.size());
        for (int i = 0; i < outputs.size(); i++) {
            results.add(new Tensor(node, i));
        }
        return results;
    }

    static Tensor state(Variable variable) {
        Node node = new Node(Source.STATE, Node.NO_INPUTS, List.of(variable.spec()), variable.trainable());
        node.variable = variable;
        node.device = variable.device();
        node.evaluated(0, variable.buffer());
        return new Tensor(node, 0);
    }

    /** The value of a variable from a set that is not settled: a leaf for gradients, like the settled one. */
    static Tensor pendingState(Variable variable, Tensor next) {
        Recorder recorder = Recorder.current();
        recorder.compiling(true); // never evaluated by itself: its value belongs in the variable's memory
        try {
            Tensor value = recordAll(new Movement.Reshape(next.shape()), List.of(next), true, variable.trainable()).getFirst();
            value.node.variable = variable;
            next.node.consumed = true; // the variable holds it
            return value;
        } finally {
            recorder.compiling(false);
        }
    }

    // ---- creation

    /**
     * A tensor with a copy of the values, row-major.
     *
     * @throws ShapeException if their number is not that of the shape
     */
    public static Tensor of(float[] values, long... shape) {
        return HostData.upload(values, values.length, DType.F32, Shape.of(shape));
    }

    /** A one-dimensional {@code F32} tensor of the values. */
    public static Tensor of(float... values) {
        return of(values, values.length);
    }

    /** An {@code F64} tensor with a copy of the values, row-major; see {@link #of(float[], long...)}. */
    public static Tensor of(double[] values, long... shape) {
        return HostData.upload(values, values.length, DType.F64, Shape.of(shape));
    }

    /** An {@code I64} tensor with a copy of the values, row-major; see {@link #of(float[], long...)}. */
    public static Tensor of(long[] values, long... shape) {
        return HostData.upload(values, values.length, DType.I64, Shape.of(shape));
    }

    /** An {@code I32} tensor with a copy of the values, row-major; see {@link #of(float[], long...)}. */
    public static Tensor of(int[] values, long... shape) {
        return HostData.upload(values, values.length, DType.I32, Shape.of(shape));
    }

    /** A {@code U8} tensor with a copy of the values, row-major; see {@link #of(float[], long...)}. */
    public static Tensor of(byte[] values, long... shape) {
        return HostData.upload(values, values.length, DType.U8, Shape.of(shape));
    }

    /** A {@code BOOL} tensor with a copy of the values, row-major; see {@link #of(float[], long...)}. */
    public static Tensor of(boolean[] values, long... shape) {
        return HostData.upload(values, values.length, DType.BOOL, Shape.of(shape));
    }

    /** An {@code F32} matrix of the rows, which must be equally long. */
    public static Tensor of(float[][] rows) {
        int columns = rows.length == 0 ? 0 : rows[0].length;
        float[] values = new float[rows.length * columns];
        for (int i = 0; i < rows.length; i++) {
            if (rows[i].length != columns) {
                throw new ShapeException("of: row " + i + " has " + rows[i].length + " values, row 0 has " + columns);
            }
            System.arraycopy(rows[i], 0, values, i * columns, columns);
        }
        return of(values, rows.length, columns);
    }

    /**
     * A tensor with a copy of little-endian, row-major values, such as those of a mapped file.
     *
     * @throws ShapeException if the number of bytes is not that of dtype and shape
     */
    public static Tensor of(MemorySegment values, DType dtype, long... shape) {
        return HostData.upload(values, dtype, Shape.of(shape));
    }

    /** A scalar of the dtype. Its value is an input of the plans it is used in: changing numbers compile nothing. */
    public static Tensor scalar(double value, DType dtype) {
        Node node = new Node(Source.SCALAR, Node.NO_INPUTS, List.of(new Spec(dtype, Shape.SCALAR)), false);
        node.scalar = value;
        node.integer = (long) value;
        return new Tensor(node, 0);
    }

    /** An integer scalar, exact also beyond 2^53; see {@link #scalar(double, DType)}. */
    public static Tensor scalar(long value, DType dtype) {
        Tensor scalar = scalar((double) value, dtype);
        scalar.node.integer = value;
        return scalar;
    }

    /** An {@code F32} scalar. */
    public static Tensor scalar(double value) {
        return scalar(value, DType.F32);
    }

    /** A tensor of one value everywhere. */
    public static Tensor full(double value, DType dtype, long... shape) {
        return scalar(value, dtype).expand(shape);
    }

    /** An {@code F32} tensor of one value everywhere. */
    public static Tensor full(double value, Shape shape) {
        return scalar(value).expand(shape.dims());
    }

    /** {@code F32} zeros. */
    public static Tensor zeros(long... shape) {
        return full(0, DType.F32, shape);
    }

    /** {@code F32} ones. */
    public static Tensor ones(long... shape) {
        return full(1, DType.F32, shape);
    }

    /** {@code 0, 1, ..., n-1}, {@code I64}. */
    public static Tensor arange(long n) {
        long[] values = new long[Math.toIntExact(n)];
        Arrays.setAll(values, i -> i);
        return of(values, n);
    }

    /** The {@code n x n} identity matrix, {@code F32}. */
    public static Tensor eye(long n) {
        return arange(n).unsqueeze(1).eq(arange(n)).to(DType.F32); // (n, n)
    }

    /** {@code n} values from {@code start} to {@code end} inclusive at equal distances, {@code F32}. */
    public static Tensor linspace(double start, double end, long n) {
        return arange(n).to(DType.F32).mul(n > 1 ? (end - start) / (n - 1) : 0).add(start);
    }

    // ---- properties

    /** Extents. */
    public Shape shape() {
        return spec().shape();
    }

    /** Element type. */
    public DType dtype() {
        return spec().dtype();
    }

    /** Dtype and shape. */
    public Spec spec() {
        return node.specs.get(output);
    }

    /** Where the tensor lives. A number that was not used with a tensor yet says {@link Device#current()}. */
    public Device device() {
        return node.device == null ? Device.current() : node.device;
    }

    /** The extent along an axis. */
    public long dim(int axis) {
        return shape().dim(axis);
    }

    /** Number of dimensions. */
    public int rank() {
        return shape().rank();
    }

    /** Number of elements. */
    public long elements() {
        return shape().elements();
    }

    // ---- elementwise, one operand

    /** Applies an expression over {@code Input(0)} of this tensor's dtype. */
    public Tensor map(java.util.function.UnaryOperator<Expr> function) {
        return record(Elementwise.of(function.apply(new Expr.Input(0, dtype()))), List.of(this));
    }

    private Tensor unary(UnaryOp op) {
        return map(x -> x.unary(op));
    }

    private Tensor floating() {
        return dtype().isFloat() ? this : to(DType.F32);
    }

    /** {@code -x}. */
    public Tensor neg() {
        return unary(UnaryOp.NEG);
    }

    /** {@code |x|}. */
    public Tensor abs() {
        return unary(UnaryOp.ABS);
    }

    /** -1, 0 or 1; NaN of NaN. */
    public Tensor sign() {
        return unary(UnaryOp.SIGN);
    }

    /** The largest integer not above {@code x}. */
    public Tensor floor() {
        return unary(UnaryOp.FLOOR);
    }

    /** The smallest integer not below {@code x}. */
    public Tensor ceil() {
        return unary(UnaryOp.CEIL);
    }

    /** The nearest integer, ties to even. */
    public Tensor round() {
        return unary(UnaryOp.ROUND);
    }

    /** Square root. Integer tensors become {@code F32}, here and in the functions below. */
    public Tensor sqrt() {
        return floating().unary(UnaryOp.SQRT);
    }

    /** {@code 1 / sqrt(x)}. */
    public Tensor rsqrt() {
        return floating().unary(UnaryOp.RSQRT);
    }

    /** {@code x * x}. */
    public Tensor square() {
        return map(x -> x.mul(x));
    }

    /** {@code 1 / x}. */
    public Tensor reciprocal() {
        return floating().map(x -> x.literal(1).div(x));
    }

    /** {@code e^x}. */
    public Tensor exp() {
        return floating().unary(UnaryOp.EXP);
    }

    /** {@code e^x - 1}, accurate near 0. */
    public Tensor expm1() {
        return floating().unary(UnaryOp.EXPM1);
    }

    /** Natural logarithm. */
    public Tensor log() {
        return floating().unary(UnaryOp.LOG);
    }

    /** {@code ln(1 + x)}, accurate near 0. */
    public Tensor log1p() {
        return floating().unary(UnaryOp.LOG1P);
    }

    /** Sine, of radians. */
    public Tensor sin() {
        return floating().unary(UnaryOp.SIN);
    }

    /** Cosine, of radians. */
    public Tensor cos() {
        return floating().unary(UnaryOp.COS);
    }

    /** Hyperbolic tangent. */
    public Tensor tanh() {
        return floating().unary(UnaryOp.TANH);
    }

    /** The error function. */
    public Tensor erf() {
        return floating().unary(UnaryOp.ERF);
    }

    /** {@code 1 / (1 + e^-x)}. */
    public Tensor sigmoid() {
        return floating().map(Activations::sigmoid);
    }

    /** {@code max(x, 0)}. */
    public Tensor relu() {
        return map(Activations::relu);
    }

    /** {@code x} limited to {@code [low, high]}. */
    public Tensor clamp(double low, double high) {
        return map(x -> x.max(x.literal(low)).min(x.literal(high)));
    }

    /** Negation of {@code BOOL}, complement of the bits of integers. */
    public Tensor not() {
        return unary(UnaryOp.NOT);
    }

    /** Whether an element is NaN, {@code BOOL}. */
    public Tensor isNaN() {
        return map(x -> x.compare(Comparison.NE, x));
    }

    /** Conversion to another dtype; see {@link Expr.Cast} for the rules. */
    public Tensor to(DType dtype) {
        return dtype == dtype() ? this : map(x -> x.cast(dtype));
    }

    /**
     * This tensor on a device: itself if it is there, otherwise a copy of its value, which is evaluated now. No gradient flows
     * through the copy.
     *
     * @throws DeviceUnavailableException if the device cannot be used
     */
    public Tensor to(Device device) {
        return device.equals(device()) ? this : HostData.move(this, device);
    }

    /** The same value, through which no gradient flows. */
    public Tensor detach() {
        return recordAll(new Movement.Reshape(shape()), List.of(this), true, false).getFirst();
    }

    // ---- elementwise, two operands

    private Tensor number(double value) {
        DType dtype = dtype().isFloat() || dtype() != DType.BOOL && value == Math.rint(value) ? dtype() : DType.F32;
        return scalar(value, dtype);
    }

    private static Tensor binary(BinaryOp op, Tensor a, Tensor b) {
        return combine(op.name(), a, b, (x, y) -> new Expr.Binary(op, x, y));
    }

    private static Tensor combine(String name, Tensor a, Tensor b, java.util.function.BinaryOperator<Expr> function) {
        DType dtype = DType.promote(a.dtype(), b.dtype());
        if (!a.shape().equals(b.shape())) {
            Shape.broadcast(name.toLowerCase(java.util.Locale.ROOT), a.shape(), b.shape()); // names the operation in the error
        }
        return record(Elementwise.of(function.apply(new Expr.Input(0, a.dtype()).cast(dtype),
                new Expr.Input(1, b.dtype()).cast(dtype))), List.of(a, b));
    }

    private Tensor compare(Comparison op, Tensor other) {
        return combine(op.name(), this, other, (x, y) -> x.compare(op, y));
    }

    /** {@code this + other}. */
    public Tensor add(Tensor other) {
        return binary(BinaryOp.ADD, this, other);
    }

    /** {@code this + value}. */
    public Tensor add(double value) {
        return add(number(value));
    }

    /** {@code this - other}. */
    public Tensor sub(Tensor other) {
        return binary(BinaryOp.SUB, this, other);
    }

    /** {@code this - value}. */
    public Tensor sub(double value) {
        return sub(number(value));
    }

    /** {@code this * other}, element by element. */
    public Tensor mul(Tensor other) {
        return binary(BinaryOp.MUL, this, other);
    }

    /** {@code this * value}. */
    public Tensor mul(double value) {
        return mul(number(value));
    }

    /** {@code this / other}; two integer tensors give {@code F32}, as in PyTorch ({@link #floorDiv} stays integral). */
    public Tensor div(Tensor other) {
        return binary(BinaryOp.DIV, dtype().isFloat() || other.dtype().isFloat() ? this : to(DType.F32), other);
    }

    /** {@code this / value}. */
    public Tensor div(double value) {
        return div(number(value));
    }

    /** The quotient rounded down; for integers by zero 0. */
    public Tensor floorDiv(Tensor other) {
        return combine("floor_div", this, other, (x, y) -> x.dtype().isFloat()
                ? x.div(y).unary(UnaryOp.FLOOR)
                : new Expr.Binary(BinaryOp.DIV, x.sub(new Expr.Binary(BinaryOp.REMAINDER, x, y)), y));
    }

    /** The remainder with the sign of the divisor, as Python's {@code %}. */
    public Tensor remainder(Tensor other) {
        return binary(BinaryOp.REMAINDER, this, other);
    }

    /** The remainder with the sign of the divisor. */
    public Tensor remainder(double value) {
        return remainder(number(value));
    }

    /** {@code this ^ other}; integer tensors become {@code F32}. */
    public Tensor pow(Tensor other) {
        return binary(BinaryOp.POW, floating(), other);
    }

    /** {@code this ^ exponent}; exponents 2, 3, 1/2, -1/2, -1, 1 and 0 are computed by multiplication and roots. */
    public Tensor pow(double exponent) {
        Tensor x = floating();
        return exponent == 2 ? x.square()
                : exponent == 3 ? x.map(e -> e.mul(e).mul(e))
                : exponent == 0.5 ? x.sqrt()
                : exponent == -0.5 ? x.rsqrt()
                : exponent == -1 ? x.reciprocal()
                : exponent == 1 ? x
                : exponent == 0 ? x.map(e -> e.literal(1))
                : x.pow(x.number(exponent));
    }

    /** The larger of the two; NaN if one is. */
    public Tensor maximum(Tensor other) {
        return binary(BinaryOp.MAX, this, other);
    }

    /** The smaller of the two; NaN if one is. */
    public Tensor minimum(Tensor other) {
        return binary(BinaryOp.MIN, this, other);
    }

    /** The larger of the tensor and a number. */
    public Tensor maximum(double value) {
        return maximum(number(value));
    }

    /** The smaller of the tensor and a number. */
    public Tensor minimum(double value) {
        return minimum(number(value));
    }

    /** {@code this == other}, {@code BOOL}, and likewise below. */
    public Tensor eq(Tensor other) {
        return compare(Comparison.EQ, other);
    }

    /** {@code this == value}. */
    public Tensor eq(double value) {
        return eq(number(value));
    }

    /** {@code this != other}. */
    public Tensor ne(Tensor other) {
        return compare(Comparison.NE, other);
    }

    /** {@code this != value}. */
    public Tensor ne(double value) {
        return ne(number(value));
    }

    /** {@code this < other}. */
    public Tensor lt(Tensor other) {
        return compare(Comparison.LT, other);
    }

    /** {@code this < value}. */
    public Tensor lt(double value) {
        return lt(number(value));
    }

    /** {@code this <= other}. */
    public Tensor le(Tensor other) {
        return compare(Comparison.LE, other);
    }

    /** {@code this <= value}. */
    public Tensor le(double value) {
        return le(number(value));
    }

    /** {@code this > other}. */
    public Tensor gt(Tensor other) {
        return compare(Comparison.GT, other);
    }

    /** {@code this > value}. */
    public Tensor gt(double value) {
        return gt(number(value));
    }

    /** {@code this >= other}. */
    public Tensor ge(Tensor other) {
        return compare(Comparison.GE, other);
    }

    /** {@code this >= value}. */
    public Tensor ge(double value) {
        return ge(number(value));
    }

    /** Logical (or bitwise) and. */
    public Tensor and(Tensor other) {
        return binary(BinaryOp.AND, this, other);
    }

    /** Logical (or bitwise) or. */
    public Tensor or(Tensor other) {
        return binary(BinaryOp.OR, this, other);
    }

    /** Logical (or bitwise) exclusive or. */
    public Tensor xor(Tensor other) {
        return binary(BinaryOp.XOR, this, other);
    }

    /** {@code this ? a : b} for a {@code BOOL} tensor; all three broadcast. */
    public Tensor where(Tensor a, Tensor b) {
        DType dtype = DType.promote(a.dtype(), b.dtype());
        return record(Elementwise.of(new Expr.Select(new Expr.Input(0, dtype()), new Expr.Input(1, a.dtype()).cast(dtype),
                new Expr.Input(2, b.dtype()).cast(dtype))), List.of(this, a, b));
    }

    // ---- reductions

    private Tensor reduce(Reduce.Kind kind, boolean keepDims, int... axes) {
        boolean[] chosen = new boolean[rank()];
        for (int axis : axes) {
            int positive = shape().axis(kind.name().toLowerCase(java.util.Locale.ROOT), axis);
            if (chosen[positive]) {
                throw new ShapeException(kind + ": axis " + axis + " given twice");
            }
            chosen[positive] = true;
        }
        List<Integer> sorted = new ArrayList<>(axes.length);
        for (int i = 0; i < chosen.length; i++) {
            if (chosen[i] || axes.length == 0) {
                sorted.add(i);
            }
        }
        return record(new Reduce(kind, sorted, keepDims), List.of(this));
    }

    /** Sum over the given axes, or over all if none is given; integers and {@code BOOL} sum to {@code I64}. */
    public Tensor sum(int... axes) {
        return reduce(Reduce.Kind.SUM, false, axes);
    }

    /** Sum over axes, which stay with extent 1 if {@code keepDims}. */
    public Tensor sum(boolean keepDims, int... axes) {
        return reduce(Reduce.Kind.SUM, keepDims, axes);
    }

    /** Mean over the given axes, or over all if none is given. */
    public Tensor mean(int... axes) {
        return reduce(Reduce.Kind.MEAN, false, axes);
    }

    /** Mean over axes, which stay with extent 1 if {@code keepDims}. */
    public Tensor mean(boolean keepDims, int... axes) {
        return reduce(Reduce.Kind.MEAN, keepDims, axes);
    }

    /** Maximum over the given axes, or over all; NaN if there is one. The gradient is shared by equal maxima. */
    public Tensor max(int... axes) {
        return reduce(Reduce.Kind.MAX, false, axes);
    }

    /** Maximum over axes, which stay with extent 1 if {@code keepDims}. */
    public Tensor max(boolean keepDims, int... axes) {
        return reduce(Reduce.Kind.MAX, keepDims, axes);
    }

    /** Minimum over the given axes, or over all; NaN if there is one. */
    public Tensor min(int... axes) {
        return reduce(Reduce.Kind.MIN, false, axes);
    }

    /** Minimum over axes, which stay with extent 1 if {@code keepDims}. */
    public Tensor min(boolean keepDims, int... axes) {
        return reduce(Reduce.Kind.MIN, keepDims, axes);
    }

    /** Product over the given axes, or over all. */
    public Tensor prod(int... axes) {
        return reduce(Reduce.Kind.PROD, false, axes);
    }

    /** The place of the first maximum along an axis, {@code I64}. */
    public Tensor argmax(int axis) {
        return reduce(Reduce.Kind.ARGMAX, false, axis);
    }

    /** The place of the first minimum along an axis, {@code I64}. */
    public Tensor argmin(int axis) {
        return reduce(Reduce.Kind.ARGMIN, false, axis);
    }

    /** Whether any element is true, for {@code BOOL}. */
    public Tensor any(int... axes) {
        return sum(axes).gt(0);
    }

    /** Whether all elements are true, for {@code BOOL}. */
    public Tensor all(int... axes) {
        return not().sum(axes).eq(0);
    }

    /** Variance over axes (all if none): the mean squared deviation, times {@code n / (n - 1)} if {@code unbiased}. */
    public Tensor variance(boolean unbiased, boolean keepDims, int... axes) {
        Tensor deviation = sub(mean(true, axes));
        Tensor biased = deviation.square().mean(keepDims, axes);
        double n = (double) elements() / biased.elements();
        return unbiased ? biased.mul(n / (n - 1)) : biased;
    }

    /** Euclidean norm of all elements: the square root of the sum of squares. */
    public Tensor norm() {
        return square().sum().sqrt();
    }

    /** {@code ln sum e^x} over axes (all if none), computed without overflow. */
    public Tensor logSumExp(boolean keepDims, int... axes) {
        Tensor max = max(true, axes).detach();
        Tensor shift = max.abs().eq(Double.POSITIVE_INFINITY).where(zerosLike(max), max);
        Tensor sum = sub(shift).exp().sum(true, axes).log().add(shift);
        return keepDims ? sum : sum.reshape(sum(axes).shape().dims());
    }

    private static Tensor zerosLike(Tensor x) {
        return scalar(0, x.dtype());
    }

    // ---- movement

    /**
     * The same elements in row-major order under another shape; one extent may be -1 and is inferred.
     *
     * @throws ShapeException if the numbers of elements differ
     */
    public Tensor reshape(long... shape) {
        long[] dims = shape.clone();
        int unknown = -1;
        long known = 1;
        for (int i = 0; i < dims.length; i++) {
            if (dims[i] == -1 && unknown < 0) {
                unknown = i;
            } else {
                known *= dims[i];
            }
        }
        if (unknown >= 0) {
            if (known == 0 || elements() % known != 0) {
                throw new ShapeException("reshape: " + shape() + " to " + Arrays.toString(shape));
            }
            dims[unknown] = elements() / known;
        }
        Shape target = Shape.of(dims);
        return target.equals(shape()) ? this : record(new Movement.Reshape(target), List.of(this));
    }

    /** All axes from {@code first} to {@code last}, inclusive, joined into one. */
    public Tensor flatten(int first, int last) {
        int from = shape().axis("flatten", first);
        int to = shape().axis("flatten", last);
        long[] dims = new long[rank() - (to - from)];
        long joined = 1;
        for (int i = 0, k = 0; i < rank(); i++) {
            if (i >= from && i <= to) {
                joined *= dim(i);
                dims[from] = joined;
                k = from + 1;
            } else {
                dims[k++] = dim(i);
            }
        }
        return reshape(dims);
    }

    /** Axes in another order: output axis {@code i} is this tensor's {@code order[i]}. */
    public Tensor permute(int... order) {
        List<Integer> positive = new ArrayList<>(order.length);
        boolean same = order.length == rank();
        for (int i = 0; i < order.length; i++) {
            positive.add(shape().axis("permute", order[i]));
            same &= positive.get(i) == i;
        }
        return same ? this : record(new Movement.Permute(positive), List.of(this));
    }

    /** Two axes exchanged. */
    public Tensor transpose(int a, int b) {
        int[] order = new int[rank()];
        Arrays.setAll(order, i -> i);
        order[shape().axis("transpose", a)] = shape().axis("transpose", b);
        order[shape().axis("transpose", b)] = shape().axis("transpose", a);
        return permute(order);
    }

    /** The last two axes exchanged: the transposed matrix. */
    public Tensor t() {
        return transpose(-2, -1);
    }

    /** Broadcasts to a shape; nothing is copied. */
    public Tensor expand(long... shape) {
        Shape target = Shape.of(shape);
        return target.equals(shape()) ? this : record(new Movement.Expand(target), List.of(this));
    }

    /** An axis of extent 1 put in at {@code axis}, in {@code [-rank-1, rank]}. */
    public Tensor unsqueeze(int axis) {
        int at = axis < 0 ? axis + rank() + 1 : axis;
        if (at < 0 || at > rank()) {
            throw new ShapeException("unsqueeze: axis " + axis + " for shape " + shape());
        }
        long[] dims = new long[rank() + 1];
        for (int i = 0; i < dims.length; i++) {
            dims[i] = i < at ? dim(i) : i == at ? 1 : dim(i - 1);
        }
        return reshape(dims);
    }

    /** An axis of extent 1 removed. */
    public Tensor squeeze(int axis) {
        int at = shape().axis("squeeze", axis);
        if (dim(at) != 1) {
            throw new ShapeException("squeeze: axis " + axis + " of " + shape() + " is not 1");
        }
        long[] dims = new long[rank() - 1];
        for (int i = 0; i < dims.length; i++) {
            dims[i] = dim(i < at ? i : i + 1);
        }
        return reshape(dims);
    }

    /** Elements {@code [start, end)} along an axis; negative bounds count from the end. */
    public Tensor slice(int axis, long start, long end) {
        return slice(axis, start, end, 1);
    }

    /** Every {@code step}-th element of {@code [start, end)} along an axis; negative bounds count from the end. */
    public Tensor slice(int axis, long start, long end, long step) {
        int at = shape().axis("slice", axis);
        long from = start < 0 ? start + dim(at) : start;
        long to = end < 0 ? end + dim(at) : end;
        if (from < 0 || to > dim(at) || from > to || step < 1) {
            throw new ShapeException("slice: [" + start + ", " + end + ") step " + step + " along axis " + axis + " of " + shape());
        }
        List<Long> starts = new ArrayList<>();
        List<Long> lengths = new ArrayList<>();
        List<Long> steps = new ArrayList<>();
        for (int i = 0; i < rank(); i++) {
            starts.add(i == at ? from : 0L);
            lengths.add(i == at ? (to - from + step - 1) / step : dim(i));
            steps.add(i == at ? step : 1L);
        }
        return record(new Movement.Slice(starts, lengths, steps), List.of(this));
    }

    /** The {@code i}-th slice along an axis, without the axis; negative counts from the end. */
    public Tensor select(int axis, long i) {
        int at = shape().axis("select", axis);
        long from = i < 0 ? i + dim(at) : i;
        return slice(at, from, from + 1).squeeze(at);
    }

    /** Value put around: {@code before[i]} ahead of and {@code after[i]} behind axis {@code i}. */
    public Tensor pad(long[] before, long[] after, double value) {
        return record(new Movement.Pad(Arrays.stream(before).boxed().toList(), Arrays.stream(after).boxed().toList(), value),
                List.of(this));
    }

    /** Order reversed along axes. */
    public Tensor flip(int... axes) {
        return record(new Movement.Flip(Arrays.stream(axes).map(a -> shape().axis("flip", a)).sorted().distinct().boxed().toList()),
                List.of(this));
    }

    /** Tensors joined along an existing axis. */
    public static Tensor concat(int axis, Tensor... tensors) {
        if (tensors.length == 0) {
            throw new ShapeException("concat: no tensors");
        }
        int at = tensors[0].shape().axis("concat", axis);
        return tensors.length == 1 ? tensors[0] : record(new Movement.Concat(at), List.of(tensors));
    }

    /** Tensors of one shape joined along a new axis. */
    public static Tensor stack(int axis, Tensor... tensors) {
        Tensor[] widened = new Tensor[tensors.length];
        for (int i = 0; i < tensors.length; i++) {
            widened[i] = tensors[i].unsqueeze(axis);
        }
        return concat(axis, widened);
    }

    /** Pieces of the given sizes along an axis; the sizes add up to its extent. */
    public List<Tensor> split(int axis, long... sizes) {
        if (Arrays.stream(sizes).sum() != dim(axis)) {
            throw new ShapeException("split: sizes " + Arrays.toString(sizes) + " along axis " + axis + " of " + shape());
        }
        List<Tensor> pieces = new ArrayList<>();
        long start = 0;
        for (long size : sizes) {
            pieces.add(slice(axis, start, start + size));
            start += size;
        }
        return pieces;
    }

    // ---- products and indexing

    /**
     * Matrix product, {@code (..., M, K) x (..., K, N)}; leading axes broadcast; a vector counts as a row on the left and
     * as a column on the right. Dtypes promote.
     */
    public Tensor matmul(Tensor other) {
        if (rank() == 0 || other.rank() == 0) {
            throw new ShapeException("matmul: " + shape() + " x " + other.shape() + ": scalars have no product of matrices");
        }
        if (rank() == 1) {
            return unsqueeze(0).matmul(other).squeeze(other.rank() == 1 ? 0 : -2);
        }
        if (other.rank() == 1) {
            return matmul(other.unsqueeze(1)).squeeze(-1);
        }
        DType dtype = DType.promote(dtype(), other.dtype());
        return record(new MatMul(), List.of(to(dtype), other.to(dtype)));
    }

    /** Slices along an axis at the given places ({@code I64} or {@code I32}, any shape, which takes the axis's place). */
    public Tensor indexSelect(int axis, Tensor index) {
        return record(new Gather.Slices(shape().axis("index_select", axis)), List.of(this, index));
    }

    /** Elements along an axis at the given places; the index has this shape except along the axis. */
    public Tensor gather(int axis, Tensor index) {
        return record(new Gather.Elements(shape().axis("gather", axis)), List.of(this, index));
    }

    /** This tensor with slices of {@code source} added at places along an axis; repeated places add up. */
    public Tensor indexAdd(int axis, Tensor index, Tensor source) {
        return record(new Scatter.AddSlices(shape().axis("index_add", axis)), List.of(this, index, source));
    }

    /** This tensor with elements of {@code source} added at places along an axis; repeated places add up. */
    public Tensor scatterAdd(int axis, Tensor index, Tensor source) {
        return record(new Scatter.AddElements(shape().axis("scatter_add", axis)), List.of(this, index, source));
    }

    /** One-hot rows of integer labels: a new last axis of {@code classes}, {@code F32}. */
    public Tensor oneHot(long classes) {
        return unsqueeze(-1).eq(arange(classes).to(dtype())).to(DType.F32);
    }

    /** Sorted values and their places ({@code I64}) along an axis; stable; NaN is largest. */
    public List<Tensor> sort(int axis, boolean descending) {
        int at = shape().axis("sort", axis);
        return recordAll(new Sort(at, descending, dim(at)), List.of(this));
    }

    /** The places that sort an axis in ascending order, {@code I64}. */
    public Tensor argsort(int axis) {
        return sort(axis, false).get(1);
    }

    /** The {@code k} largest values along an axis, descending, and their places ({@code I64}). */
    public List<Tensor> topk(long k, int axis) {
        return recordAll(new Sort(shape().axis("topk", axis), true, k), List.of(this));
    }

    // ---- evaluation

    /**
     * Gradients of this scalar with respect to every trainable {@link Variable} it depends on.
     *
     * @throws ShapeException if this is no float scalar
     */
    public Gradients backward() {
        return Gradients.of(this);
    }

    /** Evaluates several tensors in one plan. */
    public static void eval(Tensor... tensors) {
        Evaluation.evaluate(List.of(tensors));
    }

    /** Evaluates this tensor if it is not; later readings cost nothing. */
    public Tensor eval() {
        Evaluation.evaluate(List.of(this));
        return this;
    }

    /** Asks that this tensor be evaluated by the next step that overwrites what it depends on. */
    public Tensor keep() {
        node.kept = true;
        return this;
    }

    /**
     * The value of the only element.
     *
     * @throws ShapeException if there is not exactly one
     */
    public double item() {
        if (elements() != 1) {
            throw new ShapeException("item: tensor " + spec() + " has " + elements() + " elements");
        }
        return HostData.item(this);
    }

    /** All elements as floats, row-major; other dtypes are converted. */
    public float[] toFloatArray() {
        return HostData.toFloatArray(this);
    }

    /** All elements as doubles, row-major; other dtypes are converted. */
    public double[] toDoubleArray() {
        return HostData.toDoubleArray(this);
    }

    /** All elements as longs, row-major; floats are truncated. */
    public long[] toLongArray() {
        return HostData.toLongArray(this);
    }

    /** All elements as ints, row-major; floats are truncated. */
    public int[] toIntArray() {
        return Arrays.stream(HostData.toLongArray(this)).mapToInt(x -> (int) x).toArray();
    }

    /** All elements as truth values (not 0), row-major. */
    public boolean[] toBooleanArray() {
        long[] values = (dtype().isFloat() ? ne(0) : this).toLongArray();
        boolean[] result = new boolean[values.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = values[i] != 0;
        }
        return result;
    }

    /**
     * Copies all elements, little-endian and row-major, to the start of a segment.
     *
     * @throws IndexOutOfBoundsException if the segment is too small
     */
    public void copyTo(MemorySegment target) {
        HostData.copyTo(this, target);
    }

    /**
     * Returns the tensor's memory to the pool at once; using it after is an error. Unread results that still need it
     * are evaluated first. A tensor that was never evaluated has no memory, and one that is a variable's value keeps it.
     */
    @Override
    public void close() {
        Evaluation.close(this);
    }

    /** Whether both are the same output of the same recorded operation; values are compared by {@link #eq}. */
    @Override
    public boolean equals(Object other) {
        return other instanceof Tensor that && node == that.node && output == that.output;
    }

    @Override
    public int hashCode() {
        return 31 * System.identityHashCode(node) + output;
    }

    /** Dtype, shape and, if evaluated and small, the values. */
    @Override
    public String toString() {
        boolean readable = node.evaluated(output) && !node.values[output].closed()
                && node.values[output].version() == node.versions[output];
        return readable && elements() <= 64 ? spec() + " " + Arrays.toString(toDoubleArray()) : node.describe(output);
    }
}
