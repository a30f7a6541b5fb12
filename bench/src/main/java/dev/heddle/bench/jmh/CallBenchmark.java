// What a call of a C function costs: java.lang.foreign (Panama), which the engine's bindings use, beside JNI.
package dev.heddle.bench.jmh;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.BytePointer;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Setup;

/**
 * {@code memcmp} of one byte, a function of the C library that takes two pointers and a number: through a handle as the engine's
 * bindings have them (pointers are {@code long}s), the same without the thread's change of state ({@code Linker.Option.critical}), and through
 * the JNI method that JavaCPP has of it, which takes pointer objects. {@link JCudaBenchmark} compares calls of the CUDA driver.
 */
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class CallBenchmark extends EngineBenchmark {
    private static final MethodHandle MEMCMP = memcmp();
    private static final MethodHandle CRITICAL = memcmp(Linker.Option.critical(false));

    private BytePointer a;
    private BytePointer b;

    @SuppressWarnings("restricted")
    private static MethodHandle memcmp(Linker.Option... options) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().find("memcmp").orElseThrow(),
                FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG), options);
    }

    /** Two bytes. */
    @Setup
    public void setup() {
        a = new BytePointer((byte) 1);
        b = new BytePointer((byte) 1);
    }

    /** Panama. */
    @Benchmark
    public int panama() throws Throwable {
        return (int) MEMCMP.invokeExact(a.address(), b.address(), 1L);
    }

    /** Panama, for short calls that never block. */
    @Benchmark
    public int panamaCritical() throws Throwable {
        return (int) CRITICAL.invokeExact(a.address(), b.address(), 1L);
    }

    /** Panama, with memory for the arguments allocated for each call: what not to do. */
    @Benchmark
    public int panamaWithArena() throws Throwable {
        try (Arena arena = Arena.ofConfined()) {
            return (int) MEMCMP.invokeExact(arena.allocate(1).address(), arena.allocate(1).address(), 1L);
        }
    }

    /** JNI. */
    @Benchmark
    public int jni() {
        return BytePointer.memcmp(a, b, 1);
    }
}
