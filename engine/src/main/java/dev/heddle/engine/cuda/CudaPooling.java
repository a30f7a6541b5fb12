// Pooling by cuDNN, where it does what the op says.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Pooling.Direction;
import dev.heddle.engine.op.Pooling.Kind;
import dev.heddle.engine.op.Window;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.lang.ref.Cleaner;
import java.util.List;

/**
 * Maxima that keep NaN, averages, and the gradient of averages, channels-last or as users see them. {@code pooling.cu} does the
 * rest: dilation, padding that differs at the two ends, one-dimensional windows, and the gradient of a maximum, because cuDNN
 * does not say which of several equal elements gets it; here it is the first.
 */
final class CudaPooling implements Kernel {
    private static final Cleaner CLEANER = Cleaner.create();
    private static final long ALIGNMENT = 16; // bytes, for wide loads

    private final boolean backward;
    private final long handle;
    private final Descriptors descriptors;
    private final long one;

    private record Descriptors(long pooling, long x, long y) implements Runnable {
        @Override
        public void run() {
            CudnnPooling.destroyDescriptor(pooling);
            Cudnn.destroyTensorDescriptor(x);
            Cudnn.destroyTensorDescriptor(y);
        }
    }

    private CudaPooling(boolean backward, long handle, Descriptors descriptors, boolean wide) {
        this.backward = backward;
        this.handle = handle;
        this.descriptors = descriptors;
        one = wide ? Cudnn.ONE_DOUBLE : Cudnn.ONE;
        CLEANER.register(this, descriptors);
    }

    private static boolean supports(Pooling op, DType dtype) {
        Window window = op.window();
        return Cudnn.dataType(dtype) >= 0 && window.dims() >= 2 && window.before().equals(window.after())
                && window.dilation().stream().allMatch(d -> d == 1)
                && (op.direction() == Direction.FORWARD || op.direction() == Direction.BACKWARD && op.kind() == Kind.AVG);
    }

    /** A kernel, or null if cuDNN has none. Operands are all channels-last, or all contiguous. */
    static Kernel of(CudaMemory memory, long handle, Pooling op, List<Layout> in, Layout out) {
        Layout first = in.getFirst();
        long elements = Math.max(first.shape().elements(), out.shape().elements());
        if (!supports(op, out.dtype()) || elements == 0 || elements > Integer.MAX_VALUE || first.byteOffset() % ALIGNMENT != 0) {
            return null;
        }
        boolean backward = op.direction() == Direction.BACKWARD;
        Layout x = backward ? out : first;
        Layout y = backward ? first : out;
        boolean channelsLast = first.isChannelsLast();
        int type = Cudnn.dataType(out.dtype());
        int mode = op.kind() == Kind.MAX ? CudnnPooling.CUDNN_POOLING_MAX : op.countPadding()
                ? CudnnPooling.CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING : CudnnPooling.CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING;
        Descriptors descriptors = new Descriptors(CudnnPooling.descriptor(mode, Cudnn.CUDNN_PROPAGATE_NAN, CudaConvolution.spatial(op.kernel(), 1),
                CudaConvolution.spatial(op.window().before(), 0), CudaConvolution.spatial(op.window().stride(), 1)),
                CudaConvolution.tensor(type, x, channelsLast), CudaConvolution.tensor(type, y, channelsLast));
        CudaPooling kernel = new CudaPooling(backward, handle, descriptors, out.dtype() == DType.F64);
        return CudnnTrial.succeeds(memory, op.name() + " of " + first, kernel, first.spec().bytes(), out.spec().bytes()) ? kernel : null;
    }

    @Override
    public void run(long[] addresses) {
        Descriptors d = descriptors;
        try {
            if (backward) { // an average's gradient depends on dy alone: what is given for x and y is not looked at
                CudnnPooling.backward(handle, d.pooling, one, d.y, addresses[0], d.y, addresses[0], d.x, addresses[1], Cudnn.ZERO, d.x, addresses[1]);
            } else {
                CudnnPooling.forward(handle, d.pooling, one, d.x, addresses[0], Cudnn.ZERO, d.y, addresses[1]);
            }
        } catch (CudaException e) {
            throw e.in("pooling");
        }
    }
}
