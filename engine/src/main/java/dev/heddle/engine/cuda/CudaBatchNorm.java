// Batch normalisation by cuDNN.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Shape;
import dev.heddle.engine.fused.BatchNorm;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Expr;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import dev.heddle.engine.plan.Step.Operand;
import java.lang.ref.Cleaner;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Training mode and its gradient; normalising by running statistics needs no library, it is one elementwise kernel. 16-bit floats
 * lie channels-last, others as they are. The mode is {@code SPATIAL}, for {@code (N, C)} too: {@code SPATIAL_PERSISTENT} is faster
 * for some shapes, but lets sums of 16-bit floats overflow. cuDNN saves the mean and {@code rstd}; the variance follows from
 * {@code rstd}, in a small kernel behind it.
 */
final class CudaBatchNorm implements FusedKernels {
    private static final Cleaner CLEANER = Cleaner.create();
    private static final int MODE = CudnnBatchNorm.CUDNN_BATCHNORM_SPATIAL;
    /** cuDNN refuses more: https://github.com/pytorch/pytorch/issues/2917. */
    private static final long LARGEST_BATCH = 131070;
    private static final long ALIGNMENT = 16; // bytes, for wide loads

    private final CudaDevice device;
    private final CudaMemory memory;
    private final CudaModules modules;
    private final long handle;
    private final Map<DType, Boolean> tried = new ConcurrentHashMap<>();

    CudaBatchNorm(CudaDevice device, CudaMemory memory, CudaModules modules, long handle) {
        this.device = device;
        this.memory = memory;
        this.modules = modules;
        this.handle = handle;
    }

    private record Descriptors(long x, long channels) implements Runnable {
        static Descriptors of(Layout x) {
            Shape shape = x.shape();
            Layout image = shape.rank() > 2 ? x : Layout.contiguous(new Spec(x.dtype(), Shape.of(shape.dim(0), shape.dim(1), 1, 1)));
            int type = Cudnn.dataType(x.dtype());
            int wide = Cudnn.dataType(x.dtype().computeType());
            return new Descriptors(CudaConvolution.tensor(type, image, channelsLast(x)), CudaConvolution.channels(wide, image));
        }

        @Override
        public void run() {
            Cudnn.destroyTensorDescriptor(x);
            Cudnn.destroyTensorDescriptor(channels);
        }
    }

    @Override
    public boolean supports(Fused op, List<Spec> inputs) {
        if (!(op instanceof BatchNorm) && !(op instanceof BatchNorm.Backward)) {
            return false;
        }
        Shape x = inputs.getFirst().shape();
        return x.rank() <= 5 && x.elements() > 0 && x.elements() <= Integer.MAX_VALUE && x.dim(0) <= LARGEST_BATCH
                && tried.computeIfAbsent(inputs.getFirst().dtype(), this::runs);
    }

    /** Whether cuDNN takes a dtype, seen on a few elements. */
    private boolean runs(DType dtype) {
        device.enter();
        Layout x = inputLayout(null, 0, List.of(Layout.contiguous(new Spec(dtype, Shape.of(2, 8, 4, 4)))));
        long all = x.spec().bytes();
        long channels = 8L * dtype.computeType().bytes();
        String what = "batch_norm of " + dtype;
        return CudnnTrial.succeeds(memory, what, forward(x, 1e-5), all, channels, channels, all, channels, channels, channels)
                && CudnnTrial.succeeds(memory, what, backward(x, 1e-5), all, channels, channels, channels, all, all, channels, channels);
    }

    private static boolean channelsLast(Layout x) {
        return x.dtype() != x.dtype().computeType() || x.isChannelsLast();
    }

    @Override
    public Layout inputLayout(Fused op, int input, List<Layout> inputs) {
        Layout given = inputs.get(input);
        return dense(given.spec(), inputs.getFirst(), given);
    }

    @Override
    public Layout outputLayout(Fused op, Spec output, List<Layout> inputs) {
        return dense(output, inputs.getFirst(), Layout.contiguous(output));
    }

    /** As {@code x} lies, if that may be and the tensor is no vector; {@code preferred} if it is the same but for axes of extent 1. */
    private static Layout dense(Spec spec, Layout x, Layout preferred) {
        boolean aligned = preferred.byteOffset() % ALIGNMENT == 0;
        if (spec.shape().rank() > 2 && channelsLast(x)) {
            return aligned && preferred.isChannelsLast() ? preferred : Layout.channelsLast(spec);
        }
        return aligned && preferred.isContiguous() ? preferred : Layout.contiguous(spec);
    }

    @Override
    public Kernel kernel(Fused op, List<Layout> inputs, List<Layout> outputs, Cuda cuda) {
        Layout x = inputs.getFirst();
        return op instanceof BatchNorm norm ? Cuda.sequence(List.of(forward(x, norm.eps()), variance(outputs.getLast(), norm.eps())))
                : backward(x, ((BatchNorm.Backward) op).eps());
    }

    /** {@code (x, weight, bias) -> (y, mean, _, rstd)}. */
    private Kernel forward(Layout x, double eps) {
        Descriptors d = Descriptors.of(x);
        long one = one(x);
        Kernel kernel = addresses -> {
            try {
                CudnnBatchNorm.forwardTraining(handle, MODE, one, Cudnn.ZERO, d.x, addresses[0], d.x, addresses[3], d.channels, addresses[1],
                        addresses[2], 1, 0, 0, eps, addresses[4], addresses[6]);
            } catch (CudaException e) {
                throw e.in("batch_norm");
            }
        };
        CLEANER.register(kernel, d);
        return kernel;
    }

    /** {@code variance = 1 / rstd^2 - eps}, not below 0 by rounding; NaN stays. */
    private Kernel variance(Layout channels, double eps) {
        Expr rstd = new Expr.Input(0, channels.dtype());
        Expr variance = rstd.literal(1).div(rstd.mul(rstd)).add(-eps);
        Operand operand = new Operand(0, channels);
        Kernel kernel = ElementwiseKernels.of(device, modules, new Step(Elementwise.of(variance.max(rstd.literal(0))), null, Step.Epilogue.NONE,
                List.of(operand), List.of(operand), 0));
        long[] moved = new long[2];
        return addresses -> {
            moved[0] = addresses[6];
            moved[1] = addresses[5];
            kernel.run(moved);
        };
    }

    /** {@code (x, weight, mean, rstd, dy) -> (dx, dweight, dbias)}. */
    private Kernel backward(Layout x, double eps) {
        Descriptors d = Descriptors.of(x);
        long one = one(x);
        Kernel kernel = addresses -> {
            try {
                CudnnBatchNorm.backward(handle, MODE, one, Cudnn.ZERO, one, Cudnn.ZERO, d.x, addresses[0], d.x, addresses[4], d.x, addresses[5],
                        d.channels, addresses[1], addresses[6], addresses[7], eps, addresses[2], addresses[3]);
            } catch (CudaException e) {
                throw e.in("batch_norm_backward");
            }
        };
        CLEANER.register(kernel, d);
        return kernel;
    }

    private static long one(Layout x) {
        return x.dtype() == DType.F64 ? Cudnn.ONE_DOUBLE : Cudnn.ONE;
    }
}
