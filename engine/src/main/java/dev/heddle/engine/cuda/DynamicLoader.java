// dlopen and its kin. Java's own loading of libraries says only that it failed; the reason is what a user needs.
package dev.heddle.engine.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.heddle.engine.memory.Memory;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/** The dynamic loader of Linux. Libraries stay loaded. */
@SuppressWarnings("restricted")
final class DynamicLoader {
    private static final int RTLD_NOW = 2;
    private static final int RTLD_DI_LINKMAP = 2;

    private static final MethodHandle DLOPEN = link("dlopen", FunctionDescriptor.of(JAVA_LONG, ADDRESS, JAVA_INT));
    private static final MethodHandle DLSYM = link("dlsym", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, ADDRESS));
    private static final MethodHandle DLERROR = link("dlerror", FunctionDescriptor.of(JAVA_LONG));
    private static final MethodHandle DLINFO =
            link("dlinfo", FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_INT, ADDRESS));

    private DynamicLoader() {
    }

    private static MethodHandle link(String name, FunctionDescriptor descriptor) {
        Linker linker = Linker.nativeLinker();
        return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
    }

    /**
     * Opens a library by path, or by name where the loader looks by itself.
     *
     * @return its handle
     * @throws IOException with the loader's own words
     */
    static long open(String library) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            long handle = (long) DLOPEN.invokeExact(arena.allocateFrom(library), RTLD_NOW);
            if (handle == 0) {
                long message = (long) DLERROR.invokeExact();
                throw new IOException(message == 0 ? library + ": cannot be loaded" : text(message));
            }
            return handle;
        } catch (IOException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** A function's address, or 0 if the library does not have it. */
    static long symbol(long handle, String name) {
        try (Arena arena = Arena.ofConfined()) {
            return (long) DLSYM.invokeExact(handle, arena.allocateFrom(name));
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** Where an open library was loaded from. */
    static Path path(long handle) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(JAVA_LONG);
            int status = (int) DLINFO.invokeExact(handle, RTLD_DI_LINKMAP, result);
            // struct link_map { ElfW(Addr) l_addr; char *l_name; ... }
            return status != 0 ? null : Path.of(text(Memory.getLong(result.get(JAVA_LONG, 0) + 8)));
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** The C string at {@code address}; the empty string at 0. */
    static String text(long address) {
        return address == 0 ? "" : Memory.ALL.getString(address);
    }
}
