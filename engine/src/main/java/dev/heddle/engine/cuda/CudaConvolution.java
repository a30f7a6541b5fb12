// Convolutions by cuDNN: the algorithm is timed once a shape and kept on disk.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Convolution.Direction;
import dev.heddle.engine.op.Window;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.io.IOException;
import java.lang.ref.Cleaner;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One- to three-dimensional convolutions and their two gradients. 16-bit floats, and f32 where it may round to tf32, lie
 * channels-last, which is what tensor cores take; f32 and f64 lie as users see them. Only deterministic algorithms are taken.
 *
 * <p>A bias is added by cuDNN where the best algorithm is the one that can (it knows a bias without a relu in one algorithm only).
 * Its relu is left alone: with a bias, cuDNN allows no activation that propagates NaN, and ours keeps NaN.
 */
final class CudaConvolution implements Kernel {
    private static final Logger LOG = LoggerFactory.getLogger(CudaConvolution.class);
    private static final Cleaner CLEANER = Cleaner.create();
    private static final boolean TF32 = Boolean.getBoolean("heddle.cuda.tf32");
    private static final long WORKSPACE = 256 << 20;
    private static final long BIAS_ALIGNMENT = 16; // bytes, for wide loads
    private static final int LEAST_SPATIAL = 2; // cuDNN knows no fewer axes

    private final Direction direction;
    private final long handle;
    private final Descriptors descriptors;
    private final long one;
    private final boolean bias;
    private int algorithm;
    private long workspaceBytes;

    /** Of x, y and w, whichever of them is the result; 0 for the last two if there is no bias. */
    private record Descriptors(long x, long y, long w, long convolution, long bias, long identity) implements Runnable {
        @Override
        public void run() {
            Cudnn.destroyTensorDescriptor(x);
            Cudnn.destroyTensorDescriptor(y);
            CudnnConvolution.destroyFilterDescriptor(w);
            CudnnConvolution.destroyDescriptor(convolution);
            if (bias != 0) {
                Cudnn.destroyTensorDescriptor(bias);
                Cudnn.destroyActivationDescriptor(identity);
            }
        }
    }

    private CudaConvolution(Direction direction, long handle, Descriptors descriptors, boolean wide) {
        this.direction = direction;
        this.handle = handle;
        this.descriptors = descriptors;
        one = wide ? Cudnn.ONE_DOUBLE : Cudnn.ONE;
        bias = descriptors.bias != 0;
        CLEANER.register(this, descriptors);
    }

    /** Whether cuDNN takes a convolution: the same padding at both ends of an axis. */
    static boolean supports(Convolution op, DType dtype) {
        return Cudnn.dataType(dtype) >= 0 && op.window().before().equals(op.window().after());
    }

    /** Whether its operands should lie channels-last. */
    static boolean channelsLast(DType dtype) {
        return dtype == DType.BF16 || dtype == DType.F16 || dtype == DType.F32 && TF32;
    }

    /** Whether there may be a kernel with an epilogue; whether there is one is found out when it is made. */
    static boolean folds(Convolution op, DType dtype, Step.Epilogue epilogue) {
        return supports(op, dtype) && op.direction() == Direction.FORWARD && !epilogue.relu();
    }

    /**
     * A kernel, or null if cuDNN has none.
     *
     * @param in two operands, or x, w and a bias
     */
    static Kernel of(CudaDevice device, CudaMemory memory, long handle, Convolution op, List<Layout> in, Layout out) {
        if (out.shape().elements() == 0 || in.stream().anyMatch(x -> x.shape().elements() == 0)
                || in.size() == 3 && in.get(2).byteOffset() % BIAS_ALIGNMENT != 0) {
            return null;
        }
        Layout x = op.direction() == Direction.BACKWARD_DATA ? out : in.get(0);
        Layout y = op.direction() == Direction.FORWARD ? out : in.get(op.direction() == Direction.BACKWARD_DATA ? 0 : 1);
        Layout w = op.direction() == Direction.BACKWARD_WEIGHTS ? out : in.get(1);
        DType dtype = out.dtype();
        int type = Cudnn.dataType(dtype);
        int math = dtype == DType.F32 && !TF32 ? Cudnn.CUDNN_FMA_MATH : dtype == DType.F64 ? Cudnn.CUDNN_DEFAULT_MATH : Cudnn.CUDNN_TENSOR_OP_MATH;
        Window window = op.window();
        boolean wide = dtype == DType.F64;
        Descriptors descriptors = new Descriptors(tensor(type, x), tensor(type, y),
                CudnnConvolution.filterDescriptor(type, channelsLast(dtype) ? Cudnn.CUDNN_TENSOR_NHWC : Cudnn.CUDNN_TENSOR_NCHW,
                        ints(w.shape().dims())),
                CudnnConvolution.descriptor(spatial(window.before(), 0), spatial(window.stride(), 1), spatial(window.dilation(), 1),
                        op.groups(), wide ? Cudnn.CUDNN_DATA_DOUBLE : Cudnn.CUDNN_DATA_FLOAT, math),
                in.size() == 3 ? channels(type, y) : 0,
                in.size() == 3 ? Cudnn.activationDescriptor(Cudnn.CUDNN_ACTIVATION_IDENTITY, Cudnn.CUDNN_NOT_PROPAGATE_NAN, 0) : 0);
        CudaConvolution kernel = new CudaConvolution(op.direction(), handle, descriptors, wide);
        String key = device.name + " " + Cudnn.version() + " " + op + " " + x + " " + y + " " + w + " " + math;
        long[] bytes = {x.spec().bytes(), y.spec().bytes(), w.spec().bytes()};
        boolean found = kernel.choose(device, memory, key, math, bytes);
        return found && (!kernel.bias || kernel.addsBias(memory, bytes)) ? kernel : null;
    }

    /** A descriptor of a vector {@code (C)} that belongs to the channels of a tensor. */
    static long channels(int type, Layout tensor) {
        int[] sizes = ints(tensor.shape().dims());
        int[] strides = new int[sizes.length];
        Arrays.fill(strides, 1);
        strides[0] = sizes[1];
        for (int i = 0; i < sizes.length; i++) {
            sizes[i] = i == 1 ? sizes[1] : 1;
        }
        return Cudnn.tensorDescriptor(type, sizes, strides);
    }

    /** Whether the algorithm can add a bias; there is no question to ask cuDNN, so it is done once. */
    private boolean addsBias(CudaMemory memory, long[] bytes) {
        if (algorithm != CudnnConvolution.CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) {
            return false;
        }
        return CudnnTrial.succeeds(memory, "the bias of a convolution", this, bytes[0], bytes[2], bytes[1], bytes[1], workspaceBytes);
    }

    private static long tensor(int type, Layout layout) {
        return tensor(type, layout, channelsLast(layout.dtype()));
    }

    /** A descriptor of a dense tensor as it lies, in the one form that cuDNN knows it by where an axis has extent 1. */
    static long tensor(int type, Layout layout, boolean channelsLast) {
        long[] strides = (channelsLast ? Layout.channelsLast(layout.spec()) : Layout.contiguous(layout.spec())).strides();
        if (layout.shape().rank() == 3) { // (N, C, L) as (N, C, 1, L)
            strides = new long[] {strides[0], strides[1], strides[2] * layout.shape().dim(2), strides[2]};
        }
        return Cudnn.tensorDescriptor(type, ints(layout.shape().dims()), Arrays.stream(strides).mapToInt(Math::toIntExact).toArray());
    }

    private static int[] ints(long[] dims) {
        long[] sizes = dims.length == 3 ? new long[] {dims[0], dims[1], 1, dims[2]} : dims;
        return Arrays.stream(sizes).mapToInt(Math::toIntExact).toArray();
    }

    static int[] spatial(List<Integer> values, int missing) {
        int[] result = new int[Math.max(LEAST_SPATIAL, values.size())];
        Arrays.fill(result, missing);
        for (int i = 0; i < values.size(); i++) {
            result[result.length - values.size() + i] = values.get(i);
        }
        return result;
    }

    // ---- choosing the algorithm

    private boolean choose(CudaDevice device, CudaMemory memory, String key, int math, long[] bytes) {
        Path kept = CudaModules.folder().resolve("convolution").resolve(CudaModules.sha256(List.of(key)) + ".algo");
        try {
            if (Files.isRegularFile(kept)) {
                String[] parts = Files.readString(kept).strip().split(" ");
                use(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]));
                return true;
            }
        } catch (IOException | RuntimeException e) {
            LOG.warn("cuda: {}: {}; chosen again", kept, e.toString());
        }
        List<CudnnConvolution.Algorithm> candidates = timed(device, memory, bytes);
        // algorithms of other math types are offered too; f32 must not become tf32 behind the user's back
        CudnnConvolution.Algorithm best = candidates.stream().filter(CudnnConvolution.Algorithm::deterministic)
                .filter(a -> math != Cudnn.CUDNN_FMA_MATH || a.mathType() == math)
                .min(Comparator.comparingDouble(a -> a.milliseconds() < 0 ? candidates.indexOf(a) : a.milliseconds())).orElse(null);
        if (best == null) {
            return false;
        }
        use(best.algo(), best.mathType());
        try {
            CudaModules.keep(kept, (best.algo() + " " + best.mathType()).getBytes(StandardCharsets.US_ASCII));
        } catch (IOException e) {
            LOG.warn("cuda: cannot keep the choice of an algorithm in {}: {}", kept, e.toString());
        }
        return true;
    }

    private void use(int chosen, int mathType) {
        CudnnConvolution.setMathType(descriptors.convolution, mathType);
        workspaceBytes = switch (direction) {
            case FORWARD -> CudnnConvolution.forwardWorkspaceBytes(handle, descriptors.x, descriptors.w, descriptors.convolution, descriptors.y, chosen);
            case BACKWARD_DATA -> CudnnConvolution.backwardDataWorkspaceBytes(handle, descriptors.w, descriptors.y, descriptors.convolution,
                    descriptors.x, chosen);
            case BACKWARD_WEIGHTS -> CudnnConvolution.backwardFilterWorkspaceBytes(handle, descriptors.x, descriptors.y,
                    descriptors.convolution, descriptors.w, chosen);
        };
        algorithm = chosen;
    }

    /** Candidates with their times; in the library's order and without times if there is no memory to run them. */
    private List<CudnnConvolution.Algorithm> timed(CudaDevice device, CudaMemory memory, long[] operandBytes) {
        long[] bytes = {operandBytes[0], operandBytes[1], operandBytes[2], WORKSPACE};
        long[] blocks = new long[bytes.length];
        int allocated = 0;
        Descriptors d = descriptors;
        try {
            for (; allocated < blocks.length; allocated++) {
                blocks[allocated] = memory.allocate(bytes[allocated]);
                Driver.memsetD8Async(blocks[allocated], (byte) 0x3c, bytes[allocated], device.stream); // small numbers in any dtype
            }
            return switch (direction) {
                case FORWARD -> CudnnConvolution.findForward(handle, d.x, blocks[0], d.w, blocks[2], d.convolution, d.y, blocks[1], blocks[3], WORKSPACE);
                case BACKWARD_DATA -> CudnnConvolution.findBackwardData(handle, d.w, blocks[2], d.y, blocks[1], d.convolution, d.x, blocks[0],
                        blocks[3], WORKSPACE);
                case BACKWARD_WEIGHTS -> CudnnConvolution.findBackwardFilter(handle, d.x, blocks[0], d.y, blocks[1], d.convolution, d.w, blocks[2],
                        blocks[3], WORKSPACE);
            };
        } catch (DeviceOutOfMemoryException e) {
            LOG.info("cuda: no memory to time algorithms of a convolution; the library's first is taken");
            return switch (direction) {
                case FORWARD -> CudnnConvolution.forwardAlgorithms(handle, d.x, d.w, d.convolution, d.y);
                case BACKWARD_DATA -> CudnnConvolution.backwardDataAlgorithms(handle, d.w, d.y, d.convolution, d.x);
                case BACKWARD_WEIGHTS -> CudnnConvolution.backwardFilterAlgorithms(handle, d.x, d.y, d.convolution, d.w);
            };
        } finally {
            for (int i = 0; i < allocated; i++) {
                memory.free(blocks[i], bytes[i]);
            }
        }
    }

    @Override
    public long workspaceBytes() {
        return workspaceBytes;
    }

    @Override
    public void run(long[] addresses) {
        Descriptors d = descriptors;
        long workspace = workspaceBytes > 0 ? addresses[bias ? 4 : 3] : 0;
        try {
            if (bias) {
                CudnnConvolution.biasActivationForward(handle, one, d.x, addresses[0], d.w, addresses[1], d.convolution, algorithm, workspace,
                        workspaceBytes, Cudnn.ZERO, d.y, addresses[3], d.bias, addresses[2], d.identity, d.y, addresses[3]);
                return;
            }
            switch (direction) {
                case FORWARD -> CudnnConvolution.forward(handle, one, d.x, addresses[0], d.w, addresses[1], d.convolution, algorithm, workspace,
                        workspaceBytes, Cudnn.ZERO, d.y, addresses[2]);
                case BACKWARD_DATA -> CudnnConvolution.backwardData(handle, one, d.w, addresses[1], d.y, addresses[0], d.convolution, algorithm,
                        workspace, workspaceBytes, Cudnn.ZERO, d.x, addresses[2]);
                case BACKWARD_WEIGHTS -> CudnnConvolution.backwardFilter(handle, one, d.x, addresses[0], d.y, addresses[1], d.convolution,
                        algorithm, workspace, workspaceBytes, Cudnn.ZERO, d.w, addresses[2]);
            }
        } catch (CudaException e) {
            throw e.in("convolution");
        }
    }
}
