// The C library's allocator, below NativeMemory.
package dev.heddle.engine.memory;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** {@code aligned_alloc} and its kin, with addresses as longs; 0 stands for NULL. */
@SuppressWarnings("restricted")
final class SystemMemory {
    private static final boolean LINUX = System.getProperty("os.name").equals("Linux");
    private static final int MADV_HUGEPAGE = 14; // Linux

    private static final MethodHandle ALIGNED_ALLOC = find("aligned_alloc",
            FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
    private static final MethodHandle FREE = find("free", FunctionDescriptor.ofVoid(ValueLayout.JAVA_LONG));
    private static final MethodHandle MADVISE = LINUX ? find("madvise",
            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT))
            : null;
    private static final MethodHandle MALLOC_TRIM = LINUX ? find("malloc_trim",
            FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG)) : null;

    private SystemMemory() {
    }

    private static MethodHandle find(String name, FunctionDescriptor descriptor) {
        Linker linker = Linker.nativeLinker();
        return linker.defaultLookup().find(name).map(symbol -> linker.downcallHandle(symbol, descriptor)).orElse(null);
    }

    /** Address of {@code bytes} bytes, a multiple of {@code alignment}, or 0. */
    static long allocate(long bytes, long alignment) {
        try {
            return (long) ALIGNED_ALLOC.invokeExact(alignment, (bytes + alignment - 1) & -alignment);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    static void free(long address) {
        try {
            FREE.invokeExact(address);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** Asks for huge pages, which cut the cost of first touching a block and its TLB misses; a refusal does no harm. */
    static void adviseHugePages(long address, long bytes) {
        if (MADVISE != null) {
            try {
                int ignored = (int) MADVISE.invokeExact(address, bytes, MADV_HUGEPAGE);
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }
    }

    /** Lets the C library return what it caches itself. */
    static void trim() {
        if (MALLOC_TRIM != null) { // glibc only
            try {
                int ignored = (int) MALLOC_TRIM.invokeExact(0L);
            } catch (Throwable e) {
                throw new AssertionError(e);
            }
        }
    }
}
