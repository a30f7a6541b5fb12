// Calls of the CUDA driver through JCuda, which is JNI, beside Panama.
package dev.heddle.bench.jmh;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OutputTimeUnit;

/**
 * Two calls that do next to nothing in the driver: {@code cuDriverGetVersion}, which writes an int, and {@code cuCtxGetCurrent}, which writes
 * a handle, for JCuda into an object. Needs a libcuda, that of {@code -Dheddle.cuda.home} (the stand-in will do) or the system's, and JCuda,
 * whose natives are no dependency of the benchmarks: {@code -Dheddle.bench.jcuda} names the jars of {@code org.jcuda:jcuda} and
 * {@code org.jcuda:jcuda-natives}, separated by colons.
 */
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class JCudaBenchmark extends EngineBenchmark {
    private static final long RESULT = Arena.global().allocate(8).address();
    private static final int[] VERSION = new int[1];
    private static final MethodHandle PANAMA_VERSION;
    private static final MethodHandle PANAMA_CONTEXT;
    private static final MethodHandle JCUDA_VERSION;
    private static final MethodHandle JCUDA_CONTEXT;

    static {
        try {
            SymbolLookup driver = driver();
            PANAMA_VERSION = panama(driver, "cuDriverGetVersion");
            PANAMA_CONTEXT = panama(driver, "cuCtxGetCurrent");
            ClassLoader loader = jcuda();
            Class<?> jcuda = Class.forName("jcuda.driver.JCudaDriver", true, loader);
            Class<?> context = Class.forName("jcuda.driver.CUcontext", true, loader);
            MethodHandles.Lookup lookup = MethodHandles.lookup();
            JCUDA_VERSION = lookup.findStatic(jcuda, "cuDriverGetVersion", MethodType.methodType(int.class, int[].class));
            MethodHandle get = lookup.findStatic(jcuda, "cuCtxGetCurrent", MethodType.methodType(int.class, context));
            JCUDA_CONTEXT = MethodHandles.foldArguments(get, lookup.findConstructor(context, MethodType.methodType(void.class))); // a new object each
            jcuda.getMethod("cuInit", int.class).invoke(null, 0);
        } catch (ReflectiveOperationException | IOException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    @SuppressWarnings("restricted")
    private static SymbolLookup driver() {
        String home = System.getProperty("heddle.cuda.home");
        return home == null ? SymbolLookup.libraryLookup("libcuda.so.1", Arena.global())
                : SymbolLookup.libraryLookup(Path.of(home, "libcuda.so.1"), Arena.global());
    }

    @SuppressWarnings("restricted")
    private static MethodHandle panama(SymbolLookup driver, String function) {
        return Linker.nativeLinker().downcallHandle(driver.findOrThrow(function), FunctionDescriptor.of(JAVA_INT, JAVA_LONG));
    }

    /** JCuda's natives find the libcuda that was loaded first. */
    private static ClassLoader jcuda() throws IOException {
        String jars = System.getProperty("heddle.bench.jcuda");
        if (jars == null) {
            throw new IOException("-Dheddle.bench.jcuda=JAR:JAR must name the jars of org.jcuda:jcuda and org.jcuda:jcuda-natives");
        }
        String[] paths = jars.split(File.pathSeparator);
        URL[] urls = new URL[paths.length];
        for (int i = 0; i < paths.length; i++) {
            urls[i] = Path.of(paths[i]).toUri().toURL();
        }
        return new URLClassLoader(urls);
    }

    /** Panama, an int. */
    @Benchmark
    public int versionByPanama() throws Throwable {
        return (int) PANAMA_VERSION.invokeExact(RESULT);
    }

    /** JCuda, an int. */
    @Benchmark
    public int versionByJCuda() throws Throwable {
        return (int) JCUDA_VERSION.invokeExact(VERSION);
    }

    /** Panama, a handle. */
    @Benchmark
    public int contextByPanama() throws Throwable {
        return (int) PANAMA_CONTEXT.invokeExact(RESULT);
    }

    /** JCuda, a handle. */
    @Benchmark
    public int contextByJCuda() throws Throwable {
        return (int) JCUDA_CONTEXT.invokeExact();
    }
}
