// What cuda-src holds for fused ops: the one list that launchers launch from, documentation prints, and benchmarks walk.
package dev.heddle.kernels;

import dev.heddle.engine.DType;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.Launch;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The kernels, each in a function per dtype and, of {@code attention.cu}, per head dimension. Arithmetic is in {@code F32}. */
public enum Catalogue {
    /** {@code e^x / sum e^x}. */
    SOFTMAX_FORWARD("softmax.cu", "e^x / sum e^x over the last axis"),
    /** Its gradient. */
    SOFTMAX_BACKWARD("softmax.cu", "y (dy - sum dy y)"),
    /** {@code x - ln sum e^x}. */
    LOG_SOFTMAX_FORWARD("softmax.cu", "x - ln sum e^x over the last axis"),
    /** Its gradient. */
    LOG_SOFTMAX_BACKWARD("softmax.cu", "dy - e^y sum dy"),

    /** Softmax cross-entropy of each row. */
    CROSS_ENTROPY_FORWARD("cross_entropy.cu", "loss of each row of logits, with label smoothing and an ignored label"),
    /** Its gradient. */
    CROSS_ENTROPY_BACKWARD("cross_entropy.cu", "(softmax(logits) - target) dloss"),
    /** Both in one pass. */
    CROSS_ENTROPY_FORWARD_BACKWARD("cross_entropy.cu", "loss of each row, and its gradient for a dloss known beforehand"),

    /** Layer norm, with or without a residual. */
    LAYER_NORM_FORWARD("norm.cu", "(x - mean) rstd weight + bias, x being a sum with a residual if there is one"),
    /** Its gradient for x, and parts of those for weight and bias. */
    LAYER_NORM_BACKWARD("norm.cu", "dx, plus another gradient of x if there is one; parts of dweight and dbias"),
    /** Root-mean-square norm, with or without a residual. */
    RMS_NORM_FORWARD("norm.cu", "x rstd weight, x being a sum with a residual if there is one"),
    /** Its gradient for x, and parts of that for weight. */
    RMS_NORM_BACKWARD("norm.cu", "dx, plus another gradient of x if there is one; parts of dweight"),
    /** Adds up the parts. */
    NORM_BACKWARD_PARAMETERS("norm.cu", "dweight and dbias from their parts"),

    /** Bias and relu. */
    BIAS_RELU_FORWARD("activation.cu", "relu(x + bias)"),
    /** Its gradient for x, and parts of that for bias. */
    BIAS_RELU_BACKWARD("activation.cu", "dx and parts of dbias"),
    /** Bias and silu. */
    BIAS_SILU_FORWARD("activation.cu", "silu(x + bias)"),
    /** Its gradient for x, and parts of that for bias. */
    BIAS_SILU_BACKWARD("activation.cu", "dx and parts of dbias"),
    /** Bias and gelu. */
    BIAS_GELU_FORWARD("activation.cu", "gelu(x + bias), by the error function"),
    /** Its gradient for x, and parts of that for bias. */
    BIAS_GELU_BACKWARD("activation.cu", "dx and parts of dbias"),
    /** Bias and gelu by tanh. */
    BIAS_GELU_TANH_FORWARD("activation.cu", "gelu(x + bias), by tanh"),
    /** Its gradient for x, and parts of that for bias. */
    BIAS_GELU_TANH_BACKWARD("activation.cu", "dx and parts of dbias"),
    /** Adds up the parts. */
    BIAS_BACKWARD_PARAMETERS("activation.cu", "dbias from its parts"),
    /** Gated unit. */
    SWIGLU_FORWARD("activation.cu", "silu(gate) up"),
    /** Its gradients. */
    SWIGLU_BACKWARD("activation.cu", "dgate and dup"),

    /** Dropout, and its gradient. */
    DROPOUT("activation.cu", "x / (1 - p) where a random number is at least p, else 0"),

    /** Parts of the norm of many tensors. */
    GLOBAL_NORM_PARTIALS("global_norm.cu", "sums of squares of parts of many tensors"),
    /** Adds up the parts. */
    GLOBAL_NORM("global_norm.cu", "the root of the sum of all parts"),

    /** Attention on tensor cores. */
    ATTENTION_FORWARD("attention.cu", "softmax(scale q k^T) v without storing the scores, and their logsumexp"),
    /** Its gradient for the queries. */
    ATTENTION_BACKWARD_Q("attention.cu", "dq"),
    /** Its gradients for keys and values. */
    ATTENTION_BACKWARD_KV("attention.cu", "dk and dv"),
    /** Attention without tensor cores, for any head dimension up to 256. */
    ATTENTION_SIMPLE_FORWARD("attention_simple.cu", "softmax(scale q k^T) v without storing the scores, and their logsumexp"),
    /** Its gradient for the queries. */
    ATTENTION_SIMPLE_BACKWARD_Q("attention_simple.cu", "dq"),
    /** Its gradients for keys and values. */
    ATTENTION_SIMPLE_BACKWARD_KV("attention_simple.cu", "dk and dv"),
    /** What both backward passes start with. */
    ATTENTION_DELTA("attention_simple.cu", "sum of dout out over the head dimension");

    private static final List<DType> FLOATS = List.of(DType.F32, DType.BF16, DType.F16);
    private static final List<DType> HALVES = List.of(DType.BF16, DType.F16);
    private static final List<Integer> HEAD_DIMENSIONS = List.of(32, 64, 96, 128);

    private final String file;
    private final String computes;

    Catalogue(String file, String computes) {
        this.file = file;
        this.computes = computes;
    }

    /** The source, in {@code cuda-src}. */
    public String file() {
        return file;
    }

    /** What it computes, in a line. */
    public String computes() {
        return computes;
    }

    /** The dtypes of its tensors; parts of sums are always {@code F32}. */
    public List<DType> dtypes() {
        return this == GLOBAL_NORM ? List.of(DType.F32) : headDimensions().isEmpty() ? FLOATS : HALVES;
    }

    /** The head dimensions it has functions for, empty if one function serves all sizes. */
    public List<Integer> headDimensions() {
        return file.equals("attention.cu") ? HEAD_DIMENSIONS : List.of();
    }

    /** The names of its functions, for example {@code softmax_forward_bf16}. */
    public List<String> functions() {
        List<String> functions = new ArrayList<>();
        for (DType dtype : dtypes()) {
            if (headDimensions().isEmpty()) {
                functions.add(function(dtype));
            }
            for (int dim : headDimensions()) {
                functions.add(function(dtype, dim));
            }
        }
        return functions;
    }

    private String function(DType dtype) {
        return (name() + "_" + dtype.name()).toLowerCase(Locale.ROOT);
    }

    private String function(DType dtype, int headDimension) {
        return (name() + "_d" + headDimension + "_" + dtype.name()).toLowerCase(Locale.ROOT);
    }

    Launch.Builder launch(Cuda cuda, DType dtype) {
        return cuda.launch(file, function(dtype));
    }

    /** Compiling one head dimension is quicker than all. */
    Launch.Builder launch(Cuda cuda, DType dtype, int headDimension) {
        return cuda.launch(file, function(dtype, headDimension), "ONLY_D " + headDimension);
    }
}
