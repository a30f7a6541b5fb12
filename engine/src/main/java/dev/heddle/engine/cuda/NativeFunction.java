// One C function: its name and signature, linked by its first call. Setting up goes through the methods here; what runs at
// every step takes a constant handle, dynamicInvoker(), which compiles to a direct call once the function is linked.
package dev.heddle.engine.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.invoke.MutableCallSite;
import java.util.Arrays;

/** A function of a {@link NativeLibrary}. Pointers and handles are {@code long}s. */
final class NativeFunction extends MutableCallSite {
    private static final MethodHandle LINK;

    static {
        try {
            LINK = MethodHandles.lookup().findVirtual(NativeFunction.class, "link", MethodType.methodType(MethodHandle.class));
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    private final NativeLibrary library;
    private final String name;
    private final FunctionDescriptor descriptor;

    NativeFunction(NativeLibrary library, String name, FunctionDescriptor descriptor) {
        super(descriptor.toMethodType());
        this.library = library;
        this.name = name;
        this.descriptor = descriptor;
        setTarget(MethodHandles.foldArguments(MethodHandles.exactInvoker(type()), LINK.bindTo(this)));
    }

    @SuppressWarnings("restricted")
    private MethodHandle link() {
        MethodHandle bound = library.bound(name, type());
        MethodHandle linked = bound != null ? bound : Linker.nativeLinker().downcallHandle(library.address(name), descriptor);
        setTarget(linked); // a race links twice, to the same effect
        return linked;
    }

    FunctionDescriptor descriptor() {
        return descriptor;
    }

    /** Throws if {@code status} is not 0, which is success in every CUDA library. */
    void check(int status) {
        if (status != 0) {
            throw library.failure(name, status);
        }
    }

    /** Calls a function that returns a status, which is not checked. */
    int status(Object... arguments) {
        try {
            return (int) getTarget().invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw unchecked(e);
        }
    }

    /** Calls a function that returns a status. */
    void call(Object... arguments) {
        check(status(arguments));
    }

    /** Calls a function that stores an int where its first parameter, left out here, points to. */
    int getInt(Object... rest) {
        try (Arena arena = Arena.ofConfined()) {
            return get(arena, JAVA_INT, rest).get(JAVA_INT, 0);
        }
    }

    /** Calls a function that stores a long, or a new object's handle, where its first parameter, left out here, points to. */
    long getLong(Object... rest) {
        try (Arena arena = Arena.ofConfined()) {
            return get(arena, JAVA_LONG, rest).get(JAVA_LONG, 0);
        }
    }

    /** Calls a function that stores something where its first parameter, left out here, points to. */
    MemorySegment get(Arena arena, MemoryLayout layout, Object... rest) {
        MemorySegment result = arena.allocate(layout);
        Object[] arguments = new Object[rest.length + 1];
        arguments[0] = result.address();
        System.arraycopy(rest, 0, arguments, 1, rest.length);
        call(arguments);
        return result;
    }

    /** As {@link #getLong}, but the pointer to the result is the last parameter. */
    long getLastLong(Object... rest) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(JAVA_LONG);
            Object[] arguments = Arrays.copyOf(rest, rest.length + 1);
            arguments[rest.length] = result.address();
            call(arguments);
            return result.get(JAVA_LONG, 0);
        }
    }

    /** Calls a function that returns nothing. */
    void callVoid(Object... arguments) {
        try {
            getTarget().invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw unchecked(e);
        }
    }

    /** Calls a function that returns a long rather than a status. */
    long getValue(Object... arguments) {
        try {
            return (long) getTarget().invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw unchecked(e);
        }
    }

    /** Calls a function that returns a C string, which belongs to the library. */
    String getText(Object... arguments) {
        return DynamicLoader.text(getValue(arguments));
    }

    /** For methods that invoke handles, which may throw anything by their signature and only unchecked errors in fact. */
    static RuntimeException unchecked(Throwable e) {
        if (e instanceof RuntimeException runtime) {
            return runtime;
        }
        if (e instanceof Error error) {
            throw error;
        }
        throw new AssertionError(e);
    }
}
