// One CUDA library as the bindings see it: it is loaded by the first call that needs it. Tables of symbols filled beforehand
// would fail on a driver that lacks one function nobody calls.
package dev.heddle.engine.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;

/** A library, found by {@link CudaLibraries}. */
final class NativeLibrary {
    /** A pointer or an opaque handle, passed as a {@code long}; named, so that it can be told from {@code size_t}. */
    static final ValueLayout.OfLong POINTER = JAVA_LONG.withName("pointer");

    /** What an unsuccessful status of a call means, in the words of the library. */
    interface Failure {
        CudaException of(String call, int status);
    }

    /** Its name without a version, such as {@code libnvrtc}. */
    final String name;
    /** The versions in {@code name.so.version} that the bindings know. */
    final List<String> versions;
    /** What must be loaded before it if it lies in the same folder: patterns of file names, {@code %s} for the version. */
    final List<String> companions;

    private final List<NativeLibrary> needs;
    private final Failure failure;
    private final Map<String, NativeFunction> functions = new ConcurrentSkipListMap<>();
    private final List<String> tried = new ArrayList<>();
    private boolean searched;
    private long handle;

    /** @param needs libraries that it opens by bare name: they are loaded before it if they are there */
    NativeLibrary(String name, List<String> versions, List<String> companions, List<NativeLibrary> needs, Failure failure) {
        this.name = name;
        this.versions = Bindings.versions(name, versions);
        this.companions = companions;
        this.needs = needs;
        this.failure = failure;
    }

    /** Declares a function that returns a status. */
    NativeFunction function(String function, MemoryLayout... parameters) {
        return function(function, FunctionDescriptor.of(JAVA_INT, parameters));
    }

    /** Declares a function. */
    NativeFunction function(String function, FunctionDescriptor descriptor) {
        NativeFunction declared = new NativeFunction(this, function, descriptor);
        functions.put(function, declared);
        return declared;
    }

    /** Everything declared so far, by name. */
    Map<String, NativeFunction> functions() {
        return functions;
    }

    CudaException failure(String call, int status) {
        return failure.of(call, status);
    }

    /** What was tried to find it, a line each, with the loader's own words. */
    synchronized List<String> tried() {
        return List.copyOf(tried);
    }

    /** Where it was loaded from, or null if it could not be. */
    synchronized Path path() {
        return load() ? DynamicLoader.path(handle) : null;
    }

    /** Loads the library, if that was not tried before, and says whether it is loaded. */
    synchronized boolean load() {
        if (!searched) {
            searched = true;
            needs.forEach(NativeLibrary::load);
            CudaLibraries.search(this);
            link();
        }
        return handle != 0;
    }

    private void link() {
        if (handle != 0) {
            String problem = Bindings.link(name);
            if (problem != null) {
                note(problem);
                handle = 0;
            }
        } else if (Bindings.CHOSEN != null && Bindings.CHOSEN.version(name) != null) {
            note("the binding " + Bindings.NAME + " needs " + fileName(Bindings.CHOSEN.version(name)) + ", no other version");
        }
    }

    /** The binding's method for a function, or null: the C function itself is called. */
    MethodHandle bound(String function, MethodType type) {
        return Bindings.CHOSEN != null && load() ? Bindings.CHOSEN.function(function, type) : null;
    }

    /** The address of a function. Throws if the library cannot be loaded, or has no such function. */
    synchronized MemorySegment address(String function) {
        if (!load()) {
            throw new CudaException(name + ", which has " + function + ", could not be loaded: " + String.join("; ", tried));
        }
        long address = DynamicLoader.symbol(handle, function);
        if (address == 0) {
            throw new CudaException(path() + " has no " + function + ": another version of " + name + " is needed");
        }
        return MemorySegment.ofAddress(address);
    }

    /** Tries the files of this library in {@code folder}. */
    boolean openIn(Path folder) {
        for (String version : CudaLibraries.preferred(versions)) {
            Path path = folder.resolve(fileName(version));
            if (Files.isRegularFile(path)) {
                loadCompanions(folder, version);
                if (open(path.toAbsolutePath().toString())) {
                    return true;
                }
            }
        }
        return false;
    }

    String fileName(String version) {
        return name + ".so." + version;
    }

    /** Notes what was tried, for the message that says why the library is not there. */
    void note(String attempt) {
        tried.add(attempt);
    }

    /** Tries a path, or a name that the loader looks for. */
    boolean open(String library) {
        try {
            handle = DynamicLoader.open(library);
            return true;
        } catch (IOException e) {
            note(e.getMessage());
            return false;
        }
    }

    private void loadCompanions(Path folder, String version) {
        for (String companion : companions) {
            for (Path file : CudaLibraries.children(folder, companion.formatted(version))) {
                try {
                    DynamicLoader.open(file.toAbsolutePath().toString());
                } catch (IOException e) {
                    note(e.getMessage());
                }
            }
        }
    }
}
