// JCuda as the engine's way to CUDA: programs that are built on it can keep to one binding.
package dev.heddle.jcuda;

import dev.heddle.engine.cuda.CudaBinding;
import dev.heddle.engine.cuda.CudaException;
import dev.heddle.engine.cuda.CudaLibraries;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import jcuda.JCudaVersion;
import jcuda.driver.CUresult;
import jcuda.jcublas.cublasStatus;
import jcuda.jcudnn.cudnnStatus;
import jcuda.nvrtc.nvrtcResult;

/**
 * The binding of {@code -Dheddle.cuda.binding=jcuda}. It needs the libraries of CUDA 12, which JCuda was built for, and for
 * convolutions cuDNN 9.
 *
 * <ul>
 *   <li>Driver: {@code JCudaDriver}, but for the five functions that {@link DriverFunctions} names.
 *   <li>NVRTC: {@code JNvrtc}.
 *   <li>Products: JCuda has no cuBLASLt, so {@code JCublas2.cublasGemmStridedBatchedEx} does them, see {@link CublasFunctions}.
 *   <li>cuDNN: {@code JCudnn}, see {@link CudnnFunctions}.
 * </ul>
 *
 * <p>Every call makes some small objects, since JCuda wraps handles in such. What JCuda does not have is called directly, in the
 * same libraries and on the same handles.
 */
public final class JCudaBinding implements CudaBinding {
    /**
     * One of CUDA's libraries.
     *
     * @param prefix of its functions
     * @param results methods for those functions that have results
     * @param jcuda the class whose methods can do the others, whose initialisation loads its native library
     * @param status the numbers of its status, by name
     */
    private record Part(String library, String version, String prefix, Class<?> results, String jcuda, Class<?> status) {}

    private static final List<Part> PARTS = List.of(
            new Part("libcublas", "12", "cublas", CublasFunctions.class, "jcuda.jcublas.JCublas2", cublasStatus.class),
            new Part("libcublasLt", "12", "cublas", CublasFunctions.class, "jcuda.jcublas.JCublas2", cublasStatus.class),
            new Part("libcudnn", "9", "cudnn", CudnnFunctions.class, "jcuda.jcudnn.JCudnn", cudnnStatus.class),
            new Part("libnvrtc", "12", "nvrtc", NvrtcFunctions.class, "jcuda.nvrtc.JNvrtc", nvrtcResult.class),
            new Part("libcuda", "1", "cu", DriverFunctions.class, "jcuda.driver.JCudaDriver", CUresult.class));

    @Override
    public String name() {
        return "jcuda";
    }

    private static Part part(Predicate<Part> which) {
        return PARTS.stream().filter(which).findFirst().orElseThrow();
    }

    @Override
    public String version(String library) {
        return PARTS.stream().filter(p -> p.library.equals(library)).map(Part::version).findFirst().orElse(null);
    }

    @Override
    public void link(String library) {
        if (library.equals("libcublas")) {
            return; // what is called is libcublasLt, which then needs it
        }
        Part part = part(p -> p.library.equals(library));
        try {
            if (library.equals("libcublasLt")) {
                CudaLibraries.load("libcublas");
            }
            Class.forName(part.jcuda); // its native library finds the one that was just loaded
        } catch (LinkageError | ClassNotFoundException | CudaException e) {
            throw new CudaException(part.jcuda + " of JCuda " + JCudaVersion.get() + ", which needs " + library + ".so." + part.version
                    + ", cannot be used: " + reason(e));
        }
    }

    /** JCuda's message is a page; the loader's own words are a line of it. */
    private static String reason(Throwable e) {
        String message = e.getMessage() != null || e.getCause() == null ? e.getMessage() : e.getCause().getMessage();
        return message == null ? e.toString()
                : message.lines().filter(line -> line.contains("cannot open") || line.contains("undefined symbol")).findFirst()
                        .orElse(message).strip();
    }

    @Override
    public MethodHandle function(String function, MethodType type) {
        Part part = part(p -> function.startsWith(p.prefix));
        try {
            MethodHandle method = has(part.results, function)
                    ? MethodHandles.lookup().findStatic(part.results, function, type) : Adapter.of(Class.forName(part.jcuda), function, type);
            return method == null ? null : Adapter.withStatus(method, part.status);
        } catch (ReflectiveOperationException e) {
            throw new CudaException("heddle-jcuda is of another version than the engine, which calls " + function + type + ": " + e);
        }
    }

    private static boolean has(Class<?> methods, String name) {
        return Arrays.stream(methods.getDeclaredMethods()).anyMatch(m -> m.getName().equals(name));
    }
}
