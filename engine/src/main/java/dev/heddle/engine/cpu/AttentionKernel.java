// Attention on the CPU, a few queries at a time: the matrix of scores is never there as a whole, forward or backward.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.fused.ScaledDotProductAttention;
import dev.heddle.engine.memory.Memory;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * {@link ScaledDotProductAttention} and its gradients for {@code F32}: of a block of queries the scores against all keys that one of
 * them sees, a tile that stays in a core's cache between oneDNN's products. Forward, a task is such a block; backward, all heads that
 * share a key head, in order, since their gradients add up; for the gradient of a bias, the same queries of all heads.
 */
final class AttentionKernel implements Kernel, IntConsumer {
    private static final long TILE = 64 << 10; // scores
    private static final long MOST_ROWS = 128;
    private static final long LEAST_ROWS = 16;
    private static final int PARTS_PER_THREAD = 2;

    private enum Wanted { OUT, GRADIENTS, BIAS_GRADIENT }

    /** Where matrices of a batch and a head lie. */
    private record Matrices(int operand, long batch, long head, long row, long column) {
        static Matrices of(Layout x, int operand) {
            long row = x.shape().dim(2) == 1 ? x.shape().dim(3) : x.stride(2);
            return new Matrices(operand, x.stride(0), x.stride(1), row, x.stride(3));
        }

        /** A bias, one number along axes of extent 1. */
        static Matrices broadcast(Layout x, int operand) {
            long[] strides = new long[4];
            for (int i = 0; i < 4; i++) {
                strides[i] = x.shape().dim(i) == 1 ? 0 : x.stride(i);
            }
            return new Matrices(operand, strides[0], strides[1], strides[2], strides[3]);
        }

        long at(long[] addresses, long b, long h, long i) {
            return addresses[operand] + Float.BYTES * (b * batch + h * head + i * row);
        }
    }

    private final Wanted wanted;
    private final float scale;
    private final boolean causal;
    private final double dropout;
    private final long batches;
    private final long heads;
    private final long perKeyHead;
    private final long queries;
    private final long keys;
    private final long dim;
    private final long blockRows;
    private final long blocks; // of queries
    private final int tasks;
    private final int parts;
    private final long tileBytes;
    private final long masks; // in a part's scratch memory, behind the tiles: what dropout multiplies a row with,
    private final long sums; // a vector that is being added up,
    private final long factors; // what rows of the result are multiplied with
    private final long partBytes;
    private final int operands;
    private final int lengths; // operand, or -1
    private final int lse;
    private final int place;
    private final Matrices q;
    private final Matrices k;
    private final Matrices v;
    private final Matrices out;
    private final Matrices dout;
    private final Matrices bias; // or null
    private final List<Matrices> results = new ArrayList<>();
    private long[] addresses;

    static boolean supports(Fused op, List<Spec> inputs) {
        return OneDnn.available() && (op instanceof ScaledDotProductAttention || op instanceof ScaledDotProductAttention.Backward)
                && inputs.getFirst().dtype() == DType.F32 && inputs.stream().allMatch(x -> x.shape().elements() > 0);
    }

    /** The given layout where rows lie in one piece, wherever they begin. */
    static Layout inputLayout(Layout given) {
        boolean rows = given.shape().rank() == 4 && (given.shape().dim(3) == 1 || given.stride(3) == 1)
                && (given.shape().dim(2) == 1 || given.stride(2) >= given.shape().dim(3));
        return rows || given.isContiguous() ? given : Layout.contiguous(given.spec());
    }

    /** Heads side by side, {@code (B, T, H, D)}, where an input of that shape has them so; then what follows needs no copy. */
    static Layout outputLayout(Spec output, List<Layout> inputs) {
        Shape shape = output.shape();
        Layout input = inputs.stream().filter(x -> x.shape().equals(shape)).findFirst().orElse(null);
        if (shape.rank() != 4 || input == null || input.stride(1) >= input.stride(2)) {
            return Layout.contiguous(output);
        }
        long d = shape.dim(3);
        return new Layout(output.dtype(), shape, new long[] {shape.dim(1) * shape.dim(2) * d, d, shape.dim(1) * d, 1}, 0);
    }

    AttentionKernel(Fused fused, List<Layout> inputs, List<Layout> outputs) {
        ScaledDotProductAttention op = fused instanceof ScaledDotProductAttention.Backward b ? b.forward() : (ScaledDotProductAttention) fused;
        boolean forward = fused == op;
        wanted = forward ? Wanted.OUT : ((ScaledDotProductAttention.Backward) fused).ofBias() ? Wanted.BIAS_GRADIENT : Wanted.GRADIENTS;
        scale = (float) op.scale();
        causal = op.causal();
        dropout = op.dropout();
        Shape query = inputs.get(0).shape(); // (B, H, T, D)
        Shape key = inputs.get(1).shape(); // (B, G, S, D)
        batches = query.dim(0);
        heads = query.dim(1);
        perKeyHead = heads / key.dim(1);
        queries = query.dim(2);
        keys = key.dim(2);
        dim = query.dim(3);
        operands = inputs.size() + outputs.size();
        place = inputs.size() - 2;
        int biased = inputs.size() - (dropout > 0 ? 3 : 1);
        lengths = inputs.size() - (dropout > 0 ? 2 : 0) - (op.biased() ? 1 : 0) > (forward ? 3 : 6) ? forward ? 3 : 6 : -1;
        q = Matrices.of(inputs.get(0), 0);
        k = Matrices.of(inputs.get(1), 1);
        v = Matrices.of(inputs.get(2), 2);
        out = forward ? Matrices.of(outputs.get(0), inputs.size()) : Matrices.of(inputs.get(3), 3);
        lse = forward ? inputs.size() + 1 : 4;
        dout = forward ? null : Matrices.of(inputs.get(5), 5);
        bias = op.biased() ? Matrices.broadcast(inputs.get(biased), biased) : null;
        for (int i = 0; i < outputs.size(); i++) {
            results.add(wanted == Wanted.BIAS_GRADIENT ? Matrices.broadcast(outputs.get(i), inputs.size())
                    : forward ? null : Matrices.of(outputs.get(i), inputs.size() + i));
        }
        long rowLength = padded(keys);
        blockRows = Math.min(queries, Math.clamp(TILE / rowLength, LEAST_ROWS, MOST_ROWS));
        blocks = (queries + blockRows - 1) / blockRows;
        boolean together = wanted == Wanted.BIAS_GRADIENT && results.getFirst().row == 0; // all queries add to the same numbers
        tasks = Math.toIntExact(switch (wanted) {
            case OUT -> batches * heads * blocks;
            case GRADIENTS -> batches * heads / perKeyHead;
            case BIAS_GRADIENT -> together ? 1 : blocks;
        });
        parts = Math.min(tasks, PARTS_PER_THREAD * WorkerPool.shared().threads());
        tileBytes = Float.BYTES * blockRows * rowLength;
        masks = (forward ? 1 : 2) * tileBytes;
        sums = masks + Float.BYTES * rowLength;
        factors = sums + Float.BYTES * AttentionRows.UNIT;
        partBytes = factors + Float.BYTES * padded(blockRows);
    }

    @Override
    public long workspaceBytes() {
        return parts * partBytes;
    }

    @Override
    public void run(long[] addresses) {
        this.addresses = addresses;
        WorkerPool.shared().parallelFor(parts, this);
    }

    /** Does one part of the work. */
    @Override
    public void accept(int part) {
        long scratch = addresses[operands] + part * partBytes;
        for (long task = (long) tasks * part / parts, end = (long) tasks * (part + 1) / parts; task < end; task++) {
            switch (wanted) {
                case OUT -> forward(task / blocks / heads, task / blocks % heads, task % blocks * blockRows, scratch);
                case GRADIENTS -> backward(task / (heads / perKeyHead), task % (heads / perKeyHead), scratch);
                case BIAS_GRADIENT -> biasGradient(task, scratch);
            }
        }
    }

    /** How many keys a sequence has, of which the queries before {@code end} see any. */
    private long seen(long b, long end) {
        long count = lengths < 0 ? keys : Math.clamp(Memory.getInt(addresses[lengths] + b * Integer.BYTES), 0, keys);
        return causal ? Math.min(count, end) : count;
    }

    private static long padded(long n) {
        return (n + AttentionRows.UNIT - 1) / AttentionRows.UNIT * AttentionRows.UNIT;
    }

    private long lseAt(long b, long h, long i) {
        return addresses[lse] + Float.BYTES * ((b * heads + h) * queries + i);
    }

    /** Scores of queries {@code from} on against the first {@code n} keys, without the bias; {@code tile} has rows of {@code padded(n)}. */
    private void scores(long b, long h, long from, long rows, long n, long tile) {
        OneDnn.sgemm(false, true, rows, n, dim, scale, q.at(addresses, b, h, from), q.row, k.at(addresses, b, h / perKeyHead, 0), k.row,
                0, tile, padded(n));
    }

    private void addBias(long b, long h, long i, long row, long n) {
        if (bias != null) {
            AttentionRows.add(row, n, bias.at(addresses, b, h, i), bias.column);
        }
    }

    private void mask(long b, long h, long i, long row, long n) {
        AttentionRows.mask(row, n, Memory.getLong(addresses[place]), Memory.getLong(addresses[place + 1]),
                ((b * heads + h) * queries + i) * keys, dropout);
    }

    private void forward(long b, long h, long from, long tile) {
        long rows = Math.min(blockRows, queries - from);
        long n = seen(b, from + rows);
        long pitch = padded(n);
        if (n > 0) {
            scores(b, h, from, rows, n, tile);
        }
        for (long r = 0; r < rows; r++) {
            long row = tile + Float.BYTES * r * pitch;
            long c = causal ? Math.min(n, from + r + 1) : n;
            AttentionRows.fill(row, c, c, Float.NEGATIVE_INFINITY);
            addBias(b, h, from + r, row, c);
            float max = c == 0 ? Float.NEGATIVE_INFINITY : AttentionRows.max(row, c);
            boolean none = max <= ScaledDotProductAttention.HIDDEN;
            double sum = none ? 0 : AttentionRows.exp(row, c, max, tile + sums);
            AttentionRows.fill(row, none ? 0 : c, n, 0);
            if (dropout > 0 && !none) {
                AttentionRows.fill(tile + masks, c, c, 0);
                mask(b, h, from + r, tile + masks, c);
                AttentionRows.mul(row, tile + masks, c);
            }
            Memory.putFloat(tile + factors + r * Float.BYTES, none ? 0 : (float) (1 / sum));
            Memory.putFloat(lseAt(b, h, from + r), none ? Float.NEGATIVE_INFINITY : (float) (max + StrictMath.log(sum)));
        }
        long y = out.at(addresses, b, h, from);
        OneDnn.sgemm(false, false, rows, dim, n, 1, tile, pitch, v.at(addresses, b, h / perKeyHead, 0), v.row, 0, y, out.row);
        for (long r = 0; r < rows; r++) {
            AttentionRows.scale(y + Float.BYTES * r * out.row, dim, Memory.getFloat(tile + factors + r * Float.BYTES));
        }
    }

    /** Fills the tile with {@code dropout(p)} and the one behind it with {@code ds}; gives the number of keys, rows being padded to a unit. */
    private long scoreGradients(long b, long h, long from, long rows, long tile) {
        long n = seen(b, from + rows);
        if (n == 0) {
            return 0;
        }
        long pitch = padded(n);
        scores(b, h, from, rows, n, tile);
        OneDnn.sgemm(false, true, rows, n, dim, 1, dout.at(addresses, b, h, from), dout.row, v.at(addresses, b, h / perKeyHead, 0), v.row,
                0, tile + tileBytes, pitch);
        for (long r = 0; r < rows; r++) {
            long row = tile + Float.BYTES * r * pitch;
            long c = causal ? Math.min(n, from + r + 1) : n;
            float logSum = Memory.getFloat(lseAt(b, h, from + r));
            boolean none = logSum == Float.NEGATIVE_INFINITY;
            if (!none) {
                AttentionRows.fill(row, c, c, Float.NEGATIVE_INFINITY);
                AttentionRows.fill(row + tileBytes, c, c, 0);
                addBias(b, h, from + r, row, c);
                AttentionRows.exp(row, c, logSum, tile + sums);
                float delta = AttentionRows.dot(dout.at(addresses, b, h, from + r), out.at(addresses, b, h, from + r), dim, tile + sums);
                if (dropout > 0) {
                    AttentionRows.fill(tile + masks, c, c, 0);
                    mask(b, h, from + r, tile + masks, c);
                    AttentionRows.gradient(row + tileBytes, row, tile + masks, c, delta);
                } else {
                    AttentionRows.gradient(row + tileBytes, row, c, delta);
                }
            }
            AttentionRows.fill(row, none ? 0 : c, n, 0);
            AttentionRows.fill(row + tileBytes, none ? 0 : c, n, 0);
        }
        return n;
    }

    private void backward(long b, long keyHead, long tile) {
        Matrices dq = results.get(0);
        Matrices dk = results.get(1);
        Matrices dv = results.get(2);
        long gradients = tile + tileBytes;
        long key = dk.at(addresses, b, keyHead, 0);
        long value = dv.at(addresses, b, keyHead, 0);
        for (long j = 0; j < keys; j++) {
            zero(key + Float.BYTES * j * dk.row);
            zero(value + Float.BYTES * j * dv.row);
        }
        for (long h = keyHead * perKeyHead; h < (keyHead + 1) * perKeyHead; h++) {
            for (long from = 0; from < queries; from += blockRows) {
                long rows = Math.min(blockRows, queries - from);
                long n = scoreGradients(b, h, from, rows, tile);
                OneDnn.sgemm(false, false, rows, dim, n, scale, gradients, padded(n), k.at(addresses, b, keyHead, 0), k.row, 0,
                        dq.at(addresses, b, h, from), dq.row);
                if (n > 0) {
                    OneDnn.sgemm(true, false, n, dim, rows, scale, gradients, padded(n), q.at(addresses, b, h, from), q.row, 1, key, dk.row);
                    OneDnn.sgemm(true, false, n, dim, rows, 1, tile, padded(n), dout.at(addresses, b, h, from), dout.row, 1, value, dv.row);
                }
            }
        }
    }

    private void zero(long row) {
        for (long i = 0; i < dim; i++) {
            Memory.putFloat(row + i * Float.BYTES, 0);
        }
    }

    private void biasGradient(long task, long tile) {
        Matrices target = results.getFirst();
        boolean together = target.row == 0;
        for (long from = task * blockRows, end = together ? queries : Math.min(queries, from + blockRows); from < end; from += blockRows) {
            long rows = Math.min(blockRows, queries - from);
            if (!together || from == 0) {
                clear(target, from, together ? 1 : rows);
            }
            for (long b = 0; b < batches; b++) {
                for (long h = 0; h < heads; h++) {
                    long n = scoreGradients(b, h, from, rows, tile);
                    for (long r = 0; r < rows; r++) {
                        AttentionRows.addTo(target.at(addresses, b, h, from + r), target.column, tile + tileBytes + Float.BYTES * r * padded(n), n);
                    }
                }
            }
        }
    }

    private void clear(Matrices target, long from, long rows) {
        for (long b = 0; b < (target.batch == 0 ? 1 : batches); b++) {
            for (long h = 0; h < (target.head == 0 ? 1 : heads); h++) {
                for (long r = 0; r < rows; r++) {
                    for (long j = 0; j < (target.column == 0 ? 1 : keys); j++) {
                        Memory.putFloat(target.at(addresses, b, h, from + r) + Float.BYTES * j * target.column, 0);
                    }
                }
            }
        }
    }
}
