// The standard cases in libtorch, through bytedeco's presets.
package dev.heddle.bench.kernel;

import dev.heddle.engine.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/** A case on the engine's own inputs, in the faster of its layouts: NCHW and channels-last for images. */
final class LibTorchKernel {
    private static final double WARM_SECONDS = 0.3;
    private static final int WARM_BATCHES = 10;
    private static final Tensor WAKE = torch.ones(1 << 18);
    private static final BoolPointer ALL_GRADIENTS = new BoolPointer(3).put(0, true).put(1, true).put(2, true);

    private final Function<List<Tensor>, Tensor> function;
    private final List<List<Tensor>> sets;
    private final String layout;
    private final boolean quick;
    private int next;
    private int runs = 1;

    private LibTorchKernel(Function<List<Tensor>, Tensor> function, List<List<Tensor>> sets, String layout, boolean quick) {
        this.function = function;
        this.sets = sets;
        this.layout = layout;
        this.quick = quick;
    }

    /** A case, warm, in its faster layout; null if there is none for libtorch. */
    static LibTorchKernel of(String name, int count, boolean quick) {
        torch.set_num_threads(Integer.getInteger("threads", Runtime.getRuntime().availableProcessors()));
        String kind = name.split(" ")[0];
        Function<List<Tensor>, Tensor> function = function(kind);
        if (function == null) {
            return null;
        }
        KernelCase given = StandardCases.of(name);
        boolean images = kind.matches("conv.*|.*pool|batchnorm.*");
        List<List<Tensor>> sets = new ArrayList<>();
        List<dev.heddle.engine.Tensor> inputs = given.inputs().apply(1);
        sets.add(inputs.stream().map(x -> convert(x, images)).toList());
        inputs.forEach(dev.heddle.engine.Tensor::close);
        while (sets.size() < count) { // other memory is what matters; random numbers would take most of the bench's time
            sets.add(sets.getFirst().stream().map(Tensor::clone).toList());
        }
        LibTorchKernel last = new LibTorchKernel(function, sets, images ? "channels-last" : "-", quick);
        double us = last.warmUp();
        if (!images) {
            return last;
        }
        List<List<Tensor>> first = sets.stream().map(set -> set.stream().map(Tensor::contiguous).toList()).toList();
        LibTorchKernel nchw = new LibTorchKernel(function, first, "NCHW", quick);
        boolean better = nchw.warmUp() < us;
        (better ? last : nchw).close();
        return better ? nchw : last;
    }

    /** As the engine has it; images and convolution weights channels-last. */
    private static Tensor convert(dev.heddle.engine.Tensor x, boolean images) {
        long[] dims = x.shape().dims();
        Tensor tensor = torch.zeros(dims);
        new FloatPointer(tensor.data_ptr()).put(x.dtype() == DType.F32 ? x.toFloatArray() : toFloats(x));
        Tensor typed = x.dtype() == DType.BF16 ? tensor.to(torch.ScalarType.BFloat16) : x.dtype() == DType.F16 ? tensor.to(torch.ScalarType.Half) : tensor;
        return images && dims.length == 4 && !square(dims) ? typed.permute(0, 3, 1, 2) : images && dims.length == 4
                ? typed.contiguous(torch.MemoryFormat.ChannelsLast) : typed;
    }

    /** Whether these are the extents of weights {@code (O, C, K, K)} and not of images {@code (N, H, W, C)}. */
    private static boolean square(long[] dims) {
        return dims[2] == dims[3] && dims[2] <= 3;
    }

    private static float[] toFloats(dev.heddle.engine.Tensor x) {
        try (dev.heddle.engine.Tensor wide = x.to(DType.F32).eval()) {
            return wide.toFloatArray();
        }
    }

    private static Function<List<Tensor>, Tensor> function(String kind) {
        return switch (kind) {
            case "add" -> in -> torch.add(in.get(0), in.get(1));
            case "gelu" -> in -> torch.gelu(in.get(0));
            case "chain" -> in -> torch.mul(in.get(0), in.get(1)).add_(in.get(2)).tanh_();
            case "sum" -> in -> in.get(0).sum(-1);
            case "softmax" -> in -> torch.softmax(in.get(0), -1);
            case "layernorm" -> in -> torch.layer_norm(in.get(0), new long[] {in.get(0).size(1)}, some(in, 1), some(in, 2), 1e-5, true);
            case "layernorm_backward" -> in -> torch.native_layer_norm_backward(in.get(3), in.get(0), new long[] {in.get(0).size(1)},
                    in.get(1).to(in.get(0).scalar_type()), in.get(2).to(in.get(0).scalar_type()), some(in, 4), some(in, 4), ALL_GRADIENTS).get0();
            case "rmsnorm" -> in -> torch.rms_norm(in.get(0), new long[] {in.get(0).size(1)}, some(in, 1), new DoubleOptional(1e-6));
            case "matmul" -> in -> torch.matmul(in.get(0), in.get(1));
            case "linear" -> in -> torch.linear(in.get(0), in.get(1), some(in, 2));
            case "linear_relu" -> in -> torch.linear(in.get(0), in.get(1), some(in, 2)).relu_();
            case "linear_gelu" -> in -> torch.gelu(torch.linear(in.get(0), in.get(1), some(in, 2)));
            case "conv", "conv_1x1" -> in -> convolution(in, new TensorOptional(), 1);
            case "conv_bias" -> in -> convolution(in, some(in, 2), 1);
            case "conv_stride2" -> in -> convolution(in, new TensorOptional(), 2);
            case "maxpool" -> in -> torch.max_pool2d(in.get(0), two(3), two(2), two(1), two(1), false);
            case "avgpool" -> in -> torch.avg_pool2d(in.get(0), two(3), two(2), two(1), false, true, new org.bytedeco.pytorch.LongOptional());
            case "batchnorm" -> in -> torch.native_batch_norm(in.get(0), some(in, 1), some(in, 2), new TensorOptional(), new TensorOptional(), true, 0.1,
                    1e-5).get0();
            case "batchnorm_backward" -> in -> torch.native_batch_norm_backward(in.get(4), in.get(0), some(in, 1), new TensorOptional(), new TensorOptional(),
                    some(in, 2), some(in, 3), true, 1e-5, ALL_GRADIENTS).get0();
            case "attention", "attention_causal" -> in -> torch.scaled_dot_product_attention(in.get(0), in.get(1), in.get(2), new TensorOptional(), 0,
                    kind.equals("attention_causal"), new DoubleOptional(), false);
            default -> null;
        };
    }

    private static Tensor convolution(List<Tensor> in, TensorOptional bias, long stride) {
        return torch.conv2d(in.get(0), in.get(1), bias, two(stride), two(in.get(1).size(2) / 2), two(1), 1);
    }

    private static long[] two(long extent) {
        return new long[] {extent, extent};
    }

    private static TensorOptional some(List<Tensor> in, int index) {
        return new TensorOptional(in.get(index));
    }

    String layout() {
        return layout;
    }

    /** Of the first set's output. */
    @SuppressWarnings("try") // the scope frees what is made inside it
    Digest digest() {
        try (PointerScope scope = new PointerScope()) {
            Tensor y = function.apply(sets.getFirst()).to(torch.ScalarType.Float).contiguous();
            float[] values = new float[(int) y.numel()];
            new FloatPointer(y.data_ptr()).get(values);
            double[] wide = new double[values.length];
            java.util.Arrays.setAll(wide, i -> values[i]);
            return Digest.of(wide);
        }
    }

    private double warmUp() {
        long end = System.nanoTime() + (quick ? 0 : (long) (WARM_SECONDS * 1e9));
        do {
            run(2 * sets.size());
        } while (System.nanoTime() < end);
        double us = Double.POSITIVE_INFINITY;
        for (int i = 0; i < WARM_BATCHES; i++) {
            us = Math.min(us, batch());
            runs = (int) Math.clamp(Math.ceil((quick ? 0 : KernelBench.CPU_BATCH_SECONDS) * 1e6 / us), 1, 2000);
        }
        return us;
    }

    /** Microseconds a run takes, on average over 5 ms. */
    double batch() {
        WAKE.neg_(); // on all threads
        long start = System.nanoTime();
        run(runs);
        return (System.nanoTime() - start) / 1e3 / runs;
    }

    @SuppressWarnings("try") // the scope frees what is made inside it
    private void run(int times) {
        for (int i = 0; i < times; i++) {
            try (PointerScope scope = new PointerScope()) {
                function.apply(sets.get(next));
            }
            next = (next + 1) % sets.size();
        }
    }

    void close() {
        sets.forEach(set -> set.forEach(Pointer::close));
    }
}
