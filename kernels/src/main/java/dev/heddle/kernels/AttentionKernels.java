// Launches of attention.cu, on tensor cores, and of attention_simple.cu, which takes what the former does not.
package dev.heddle.kernels;

import dev.heddle.engine.Shape;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.Launch;
import dev.heddle.engine.fused.ScaledDotProductAttention;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.util.List;

/** Scaled dot-product attention. */
final class AttentionKernels {
    private static final int LARGEST_SIMPLE_HEAD = 256;
    private static final int LARGEST_GRID = 65535; // second and third extent
    private static final long LONGEST = 1 << 30;
    private static final int SIMPLE_ROWS = 4; // of a block, one a warp
    private static final long ALIGNMENT = 16;
    private static final long STRIDE_UNIT = 8; // elements: rows that begin at multiples of 16 bytes

    /** Rows of a block and bytes of shared memory of the three kernels of attention.cu. */
    private record Tiles(int forwardRows, int forwardShared, int qRows, int qShared, int kvRows, int kvShared) {
        static Tiles of(long headDimension) {
            return switch ((int) headDimension) {
                case 32 -> new Tiles(128, 16384, 128, 24576, 64, 25600);
                case 64 -> new Tiles(128, 32768, 128, 49152, 64, 50176);
                case 96 -> new Tiles(128, 36864, 64, 49152, 64, 49664);
                case 128 -> new Tiles(128, 49152, 64, 65536, 64, 66048);
                default -> throw new IllegalArgumentException("no kernel for head dimension " + headDimension);
            };
        }
    }

    private AttentionKernels() {}

    /** Bias and dropout are left to the decomposition. */
    static boolean supports(Fused op, List<Spec> inputs) {
        ScaledDotProductAttention attention = op instanceof ScaledDotProductAttention.Backward backward ? backward.forward()
                : (ScaledDotProductAttention) op;
        Shape q = inputs.get(0).shape();
        return !attention.biased() && attention.dropout() == 0 && q.dim(3) <= LARGEST_SIMPLE_HEAD && q.dim(0) <= LARGEST_GRID && q.dim(1) <= LARGEST_GRID && q.dim(2) < LONGEST
                && inputs.get(1).shape().dim(2) < LONGEST;
    }

    /** Whether heads of {@code (B, H, T, D)} can be read where they lie: such as in {@code (B, T, 3, H, D)}. */
    static boolean takes(Layout x) {
        boolean takes = x.shape().rank() == 4 && (x.stride(3) == 1 || x.shape().dim(3) == 1);
        for (int i = 0; takes && i < 3; i++) {
            takes = x.stride(i) > 0 && x.stride(i) % STRIDE_UNIT == 0;
        }
        return takes;
    }

    /** Heads side by side, {@code (B, T, H, D)}, where the queries have them so; then what follows needs no copy. */
    static Layout outputLayout(Spec output, Layout q) {
        Shape shape = output.shape();
        if (shape.rank() != 4 || q.stride(1) >= q.stride(2)) {
            return Layout.contiguous(output);
        }
        long d = shape.dim(3);
        long[] strides = {shape.dim(1) * shape.dim(2) * d, d, shape.dim(1) * d, 1};
        return new Layout(output.dtype(), shape, strides, 0);
    }

    private static boolean onTensorCores(FusedCall call) {
        return Catalogue.ATTENTION_FORWARD.dtypes().contains(call.dtype())
                && Catalogue.ATTENTION_FORWARD.headDimensions().contains(call.columns());
    }

    static Kernel forward(ScaledDotProductAttention op, FusedCall call) {
        Kernel simple = forward(op, call, false);
        return onTensorCores(call) ? aligned(forward(op, call, true), simple, 0, 1, 2) : simple;
    }

    private static Kernel forward(ScaledDotProductAttention op, FusedCall call, boolean tensorCores) {
        Shape q = call.shape(0); // (B, H, T, D)
        Shape k = call.shape(1); // (B, Hkv, S, D)
        Launch.Builder launch = launch(tensorCores ? Catalogue.ATTENTION_FORWARD : Catalogue.ATTENTION_SIMPLE_FORWARD, tensorCores, call);
        launch.pointer(call.output(0)).pointer(call.output(1)).pointer(0).pointer(1).pointer(2);
        numbers(launch, 3, op.scale(), op.causal(), tensorCores, call);
        strides(launch, call.outputs().get(0), call.inputs().get(0), call.inputs().get(1), call.inputs().get(2));
        if (tensorCores) {
            Tiles tiles = Tiles.of(q.dim(3));
            return tensorCoreGrid(launch, q, tiles.forwardRows, tiles.forwardShared).build();
        }
        return simpleGrid(launch, q, 16).build();
    }

    static Kernel backward(ScaledDotProductAttention.Backward op, FusedCall call) {
        Kernel simple = backward(op, call, false);
        return onTensorCores(call) ? aligned(backward(op, call, true), simple, 0, 1, 2, 5) : simple;
    }

    /** {@code delta} first, into the workspace; then a kernel for the queries and one for keys and values. */
    private static Kernel backward(ScaledDotProductAttention.Backward op, FusedCall call, boolean tensorCores) {
        Shape q = call.shape(0); // (B, H, T, D)
        Shape k = call.shape(1); // (B, Hkv, S, D)
        Launch.Builder delta = call.launch(Catalogue.ATTENTION_DELTA).pointer(call.workspace()).pointer(3).pointer(5)
                .value((int) q.dim(2)).value(call.columns()).workspace(4 * call.rows());
        strides(delta, call.inputs().get(3), call.inputs().get(5));
        simpleGrid(delta, q, 0);

        Launch.Builder dq = launch(tensorCores ? Catalogue.ATTENTION_BACKWARD_Q : Catalogue.ATTENTION_SIMPLE_BACKWARD_Q, tensorCores, call);
        dq.pointer(call.output(0));
        backwardInputs(dq, op, tensorCores, call);
        strides(dq, call.outputs().get(0), call.inputs().get(0), call.inputs().get(1), call.inputs().get(2), call.inputs().get(5));

        Launch.Builder dkv = launch(tensorCores ? Catalogue.ATTENTION_BACKWARD_KV : Catalogue.ATTENTION_SIMPLE_BACKWARD_KV, tensorCores, call);
        dkv.pointer(call.output(1)).pointer(call.output(2));
        backwardInputs(dkv, op, tensorCores, call);
        strides(dkv, call.outputs().get(1), call.outputs().get(2), call.inputs().get(0), call.inputs().get(1), call.inputs().get(2),
                call.inputs().get(5));

        if (tensorCores) {
            Tiles tiles = Tiles.of(q.dim(3));
            tensorCoreGrid(dq, q, tiles.qRows, tiles.qShared);
            tensorCoreGrid(dkv, k, tiles.kvRows, tiles.kvShared);
        } else {
            simpleGrid(dq, q, 32);
            simpleGrid(dkv, k, 32);
        }
        return Cuda.sequence(List.of(delta.build(), dq.build(), dkv.build()));
    }

    private static Launch.Builder launch(Catalogue kernel, boolean tensorCores, FusedCall call) {
        return tensorCores ? kernel.launch(call.cuda(), call.dtype(), call.columns()) : call.launch(kernel);
    }

    private static void backwardInputs(Launch.Builder launch, ScaledDotProductAttention.Backward op, boolean tensorCores, FusedCall call) {
        launch.pointer(0).pointer(1).pointer(2).pointer(5).pointer(4).pointer(call.workspace()); // q, k, v, dout, lse, delta
        numbers(launch, 6, op.forward().scale(), op.forward().causal(), tensorCores, call);
    }

    /** From the lengths of the keys, which are operand {@code lengths} if there are any, to the scale. */
    private static void numbers(Launch.Builder launch, int lengths, double scale, boolean causal, boolean tensorCores, FusedCall call) {
        Shape q = call.shape(0);
        Shape k = call.shape(1);
        if (call.inputs().size() > lengths) {
            launch.pointer(lengths);
        } else {
            launch.value(0L);
        }
        launch.value((int) q.dim(2)).value((int) k.dim(2)).value((int) (q.dim(1) / k.dim(1)));
        if (!tensorCores) {
            launch.value(call.columns());
        }
        launch.value(causal ? 0 : (int) k.dim(2)).value((float) scale);
    }

    /** Of batch, head and row. */
    private static void strides(Launch.Builder launch, Layout... layouts) {
        for (Layout x : layouts) {
            launch.value(x.stride(0)).value(x.stride(1)).value(x.stride(2));
        }
    }

    private static Launch.Builder tensorCoreGrid(Launch.Builder launch, Shape of, int rows, int shared) {
        return launch.block(128, 1, 1).grid(FusedCall.divideUp(of.dim(2), rows), of.dim(1), of.dim(0)).shared(shared);
    }

    private static Launch.Builder simpleGrid(Launch.Builder launch, Shape of, int sharedPerColumn) {
        return launch.block(32, SIMPLE_ROWS, 1).grid(FusedCall.divideUp(of.dim(2), SIMPLE_ROWS), of.dim(1), of.dim(0))
                .shared((int) (sharedPerColumn * of.dim(3)));
    }

    /** The first kernel where these operands lie at multiples of 16 bytes; a part of a larger tensor may not. */
    private static Kernel aligned(Kernel fast, Kernel any, int... operands) {
        return new Kernel() {
            @Override
            public void run(long[] addresses) {
                long bits = 0;
                for (int operand : operands) {
                    bits |= addresses[operand];
                }
                (bits % ALIGNMENT == 0 ? fast : any).run(addresses);
            }

            @Override
            public long workspaceBytes() {
                return Math.max(fast.workspaceBytes(), any.workspaceBytes());
            }
        };
    }
}
