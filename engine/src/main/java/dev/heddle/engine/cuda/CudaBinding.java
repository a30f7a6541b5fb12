// How C functions of CUDA are reached if not through java.lang.foreign: people whose programs are built on JCuda can have the
// engine use the same calls.
package dev.heddle.engine.cuda;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;

/**
 * A second way to call CUDA, chosen by {@code -Dheddle.cuda.binding=NAME}; without that the engine links to C itself. A provider
 * is named in {@code META-INF/services/dev.heddle.engine.cuda.CudaBinding} of its jar. It may cover some functions only: handles
 * and addresses are those of C, so the others can be called directly, on the same objects.
 */
public interface CudaBinding {
    /** What {@code -Dheddle.cuda.binding} calls it. */
    String name();

    /**
     * The version that it needs a library in, as in {@code libnvrtc.so.VERSION}, or null if any will do.
     *
     * @param library its name, such as {@code libnvrtc}
     */
    String version(String library);

    /**
     * Loads its own part for a library that has just been found and loaded.
     *
     * @throws CudaException if it cannot, with the reason; the library then counts as not found
     */
    void link(String library);

    /**
     * A Java method in place of a C function.
     *
     * @param function the C function, by its versioned name, such as {@code cuMemAlloc_v2}
     * @param type its parameters and result; pointers and handles are {@code long}s
     * @return null if it has none: the engine then calls the C function
     */
    MethodHandle function(String function, MethodType type);
}
