// CUDA as a backend of the planner: which kernel runs a step, and which layouts it wants.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.op.Convolution;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Gather;
import dev.heddle.engine.op.MatMul;
import dev.heddle.engine.op.Movement;
import dev.heddle.engine.op.Op;
import dev.heddle.engine.op.Pooling;
import dev.heddle.engine.op.Random;
import dev.heddle.engine.op.Reduce;
import dev.heddle.engine.op.Scatter;
import dev.heddle.engine.op.Sort;
import dev.heddle.engine.op.Source;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Backend;
import dev.heddle.engine.plan.Call;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import dev.heddle.engine.plan.Step;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.function.Function;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Generated kernels for elementwise steps and reductions, cuda-src for the rest. */
public final class CudaBackend implements Backend {
    private static final Logger LOG = LoggerFactory.getLogger(CudaBackend.class);
    /** Waits behind every launch, so that a fault names its kernel ({@code -Dheddle.cuda.sync=true}). */
    static final boolean SYNCHRONOUS = Boolean.getBoolean("heddle.cuda.sync");
    /** Plans are captured into CUDA graphs ({@code -Dheddle.cuda.graphs=false} switches that off). */
    private static final boolean GRAPHS = !"false".equals(System.getProperty("heddle.cuda.graphs")) && !SYNCHRONOUS
            && !CudaMemory.GUARD;

    final CudaDevice device;
    final CudaMemory memory;
    private final CudaModules modules;
    private final Kernels kernels;
    private final Cuda cuda;
    private final long cublasLt; // handle, 0 if the library is not there
    private final long cudnn; // likewise
    private final List<FusedKernels> providers;

    /**
     * Starts a device.
     *
     * @throws dev.heddle.engine.DeviceUnavailableException with the reason why it cannot be used
     */
    public CudaBackend(Device device) {
        this.device = new CudaDevice(device);
        memory = new CudaMemory(this.device);
        modules = new CudaModules(this.device, false);
        kernels = new Kernels(this.device, modules, memory.indexError());
        cuda = new Cuda(this.device, new CudaModules(this.device, true), memory.indexError());
        cublasLt = CudaLibraries.CUBLAS_LT.load() ? CublasLt.create() : 0;
        if (cublasLt == 0) {
            LOG.warn("{}: cuBLASLt was not found, products run on a slow kernel: {}", device, String.join("; ", CudaLibraries.CUBLAS_LT.tried()));
        }
        cudnn = CudaLibraries.CUDNN.load() ? Cudnn.create() : 0;
        if (cudnn == 0) {
            LOG.warn("{}: cuDNN was not found, convolutions run on a slow kernel: {}", device, String.join("; ", CudaLibraries.CUDNN.tried()));
        } else {
            Cudnn.setStream(cudnn, this.device.stream);
        }
        providers = new ArrayList<>();
        if (cudnn != 0) {
            providers.add(new CudaBatchNorm(this.device, memory, modules, cudnn));
            providers.add(new CudaRecurrent(this.device, memory, modules, cudnn));
        }
        ServiceLoader.load(FusedKernels.class, CudaBackend.class.getClassLoader()).forEach(providers::add);
    }

    /** Why a device cannot be used, or null if it can. */
    public static String unavailable(int index) {
        return CudaDevice.unavailable(index);
    }

    /** A line for each device of the machine, none if CUDA cannot be used. */
    public static List<String> devices() {
        List<String> lines = new ArrayList<>();
        if (unavailable(0) == null) {
            for (int i = 0; i < Driver.deviceCount(); i++) {
                String reason = unavailable(i);
                int handle = Driver.device(i);
                lines.add("cuda:" + i + ": " + Driver.deviceName(handle) + ", " + CudaDevice.architecture(handle) + ", "
                        + (Driver.deviceTotalMem(handle) >> 20) + " MiB" + (reason == null ? "" : " (not usable: " + reason + ")"));
            }
        }
        return lines;
    }

    @Override
    public DeviceMemory memory() {
        return memory;
    }

    @Override
    public Runnable program(Kernel[] kernels, long[][] addresses) {
        if (GRAPHS) {
            return new CudaGraph(device, kernels, addresses);
        }
        return () -> {
            device.enter();
            for (int i = 0; i < kernels.length; i++) {
                kernels[i].run(addresses[i]);
            }
        };
    }

    @Override
    public boolean prefersFixedAddresses() {
        return GRAPHS;
    }

    @Override
    public boolean separatesValues() {
        return CudaMemory.GUARD;
    }

    @Override
    public void launched() {
        memory.fence();
    }

    @Override
    public void synchronize() {
        memory.synchronize();
    }

    @Override
    public boolean supports(Fused op, List<Spec> inputs) {
        return op instanceof CudaKernel.Custom || provider(op, inputs) != null;
    }

    private FusedKernels provider(Fused op, List<Spec> inputs) {
        for (FusedKernels provider : providers) {
            if (provider.supports(op, inputs)) {
                return provider;
            }
        }
        return null;
    }

    private Kernel fused(Fused op, Step step) {
        List<Spec> inputs = specs(step.inputLayouts());
        return op instanceof CudaKernel.Custom custom ? custom.kernel(inputs, cuda)
                : provider(op, inputs).kernel(op, step.inputLayouts(), step.outputLayouts(), cuda);
    }

    private static List<Spec> specs(List<Layout> layouts) {
        return layouts.stream().map(Layout::spec).toList();
    }

    @Override
    public Layout inputLayout(Op op, int input, List<Layout> layouts) {
        Layout given = layouts.get(input);
        return switch (op) {
            case Elementwise e -> given;
            case Reduce r -> given;
            case Movement m -> given;
            case MatMul m -> input < 2 && (cublasLt == 0 || CudaMatMul.accepts(given)) ? given : contiguous(given);
            case Convolution c -> input < 2 && channelsLast(c, given.dtype()) ? channelsLast(given) : contiguous(given);
            case Pooling p -> layouts.getFirst().isChannelsLast() ? channelsLast(given) : contiguous(given);
            case Fused f when !(f instanceof CudaKernel.Custom) -> provider(f, specs(layouts)).inputLayout(f, input, layouts);
            default -> contiguous(given);
        };
    }

    private boolean channelsLast(Convolution op, DType dtype) {
        return cudnn != 0 && CudaConvolution.supports(op, dtype) && CudaConvolution.channelsLast(dtype);
    }

    private static Layout contiguous(Layout given) {
        return given.isContiguous() ? given : Layout.contiguous(given.spec());
    }

    private static Layout channelsLast(Layout given) {
        return given.isChannelsLast() ? given : Layout.channelsLast(given.spec());
    }

    @Override
    public Layout outputLayout(Op op, Spec output, List<Layout> inputs) {
        if (op instanceof Elementwise) {
            for (Layout input : inputs) {
                if (input.shape().equals(output.shape()) && input.isDense()) {
                    return new Layout(output.dtype(), output.shape(), input.strides(), 0);
                }
            }
        }
        if (op instanceof Fused f && !(f instanceof CudaKernel.Custom)) {
            return provider(f, specs(inputs)).outputLayout(f, output, inputs);
        }
        boolean channelsLast = op instanceof Pooling && inputs.getFirst().isChannelsLast()
                || op instanceof Convolution c && channelsLast(c, output.dtype());
        return channelsLast ? Layout.channelsLast(output) : Layout.contiguous(output);
    }

    @Override
    public boolean folds(Op op, Step.Epilogue epilogue, List<Spec> inputs) {
        DType dtype = inputs.getFirst().dtype();
        return switch (op) {
            case MatMul m -> cublasLt != 0 && CudaMatMul.folds(dtype);
            case Convolution c -> cudnn != 0 && CudaConvolution.folds(c, dtype, epilogue);
            default -> false;
        };
    }

    @Override
    public boolean reducesRows(Call call) {
        return false;
    }

    @Override
    public Kernel kernel(Call call) {
        device.enter();
        if (call.steps().size() == 1) {
            return kernel(call.steps().getFirst());
        }
        if (MultiTensorKernels.supports(call)) {
            return MultiTensorKernels.of(device, modules, call);
        }
        List<Kernel> parts = new ArrayList<>();
        for (Step step : call.steps()) {
            parts.add(kernel(step));
        }
        return new Together(call, parts);
    }

    private Kernel matmul(Step step) {
        List<Layout> in = step.inputLayouts();
        Layout out = step.outputLayouts().getFirst();
        Kernel kernel = cublasLt == 0 ? null : CudaMatMul.of(device, memory, cublasLt, in, step.epilogue(), out);
        return kernel != null ? kernel : step.epilogue() != Step.Epilogue.NONE ? apart(step, this::matmul) : kernels.matmul(in.get(0), in.get(1), out);
    }

    private Kernel convolution(Step step) {
        Convolution op = (Convolution) step.op();
        List<Layout> in = step.inputLayouts();
        Layout out = step.outputLayouts().getFirst();
        Kernel kernel = cudnn == 0 || !CudaConvolution.supports(op, out.dtype()) ? null
                : CudaConvolution.of(device, memory, cudnn, op, in, out);
        return kernel != null ? kernel : step.epilogue() != Step.Epilogue.NONE ? apart(step, this::convolution) : kernels.convolution(op, in, out);
    }

    private Kernel pooling(Pooling op, List<Layout> in, Layout out) {
        Kernel kernel = cudnn == 0 ? null : CudaPooling.of(memory, cudnn, op, in, out);
        return kernel != null ? kernel : kernels.pooling(op, in, out);
    }

    /** A step without its epilogue, and that behind it. */
    private Kernel apart(Step step, Function<Step, Kernel> kernel) {
        Step plain = new Step(step.op(), null, Step.Epilogue.NONE, step.inputs().subList(0, 2), step.outputs(), step.node());
        return new CudaEpilogue(device, modules, step, kernel.apply(plain));
    }

    private Kernel kernel(Step step) {
        List<Layout> in = step.inputLayouts();
        Layout out = step.outputLayouts().getFirst();
        return switch (step.op()) {
            case Elementwise e -> ElementwiseKernels.of(device, modules, step);
            case Reduce r -> ReduceKernels.of(device, modules, step);
            case MatMul m -> matmul(step);
            case Convolution c -> convolution(step);
            case Pooling p -> pooling(p, in, out);
            case Gather g -> kernels.gather(g, in.get(0), in.get(1), out);
            case Scatter s -> kernels.scatter(s, in.get(0), in.get(1), out);
            case Sort s -> kernels.sort(s, in.getFirst());
            case Random r -> kernels.random(r);
            case Movement.Concat c -> kernels.concat(c, step);
            case Movement.Pad p -> kernels.pad(p, step);
            case Movement m -> throw new IllegalStateException(m + " is a layout, not a step");
            case Fused f -> fused(f, step);
            case Source s -> throw new IllegalStateException(s + " is no step");
        };
    }
}
