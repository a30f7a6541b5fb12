// The GPU a report was made on, and what the driver itself says of its memory: the engine's own counters would only repeat what
// the engine believes.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.Device;
import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.cuda.CudaLibraries;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * {@code GpuInfo OUT.json}: name, driver, memory, libraries, and the bandwidth of a copy in device memory. Exit status 1 if no
 * GPU can be used. The driver's calls here need a context, which the calling thread has once it has used the engine on a GPU.
 */
@SuppressWarnings("restricted")
public final class GpuInfo {
    private static final int COPIES = 10;

    private final SymbolLookup driver;

    GpuInfo() {
        Path path = CudaLibraries.report().getFirst().path();
        if (path == null) {
            throw new IllegalStateException("libcuda: " + CudaLibraries.report().getFirst().problem());
        }
        driver = SymbolLookup.libraryLookup(path, Arena.global());
    }

    /** Prints and writes what is known. */
    public static void main(String[] arguments) throws IOException {
        ObjectNode json = new ObjectMapper().createObjectNode();
        ArrayNode libraries = json.putArray("libraries");
        CudaLibraries.report().forEach(library -> libraries.add(library.toString()));
        String reason = CudaBackend.unavailable(0);
        if (reason == null) {
            Device.use(Device.parse("cuda"));
            GpuInfo info = new GpuInfo();
            json.put("name", info.name()).put("stand_in", info.standIn()).put("cuda_driver", info.version())
                    .put("memory_bytes", info.memory(true)).put("free_bytes", info.memory(false))
                    .put("copy_gb_per_s", info.copy(arguments.length > 1 ? 1 << 20 : 1L << 30));
        } else {
            json.put("unavailable", reason);
        }
        String text = json.toPrettyString();
        System.out.println(text);
        Files.writeString(Path.of(arguments[0]), text + "\n");
        System.exit(reason == null ? 0 : 1);
    }

    /** What the driver calls the device. */
    String name() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(256);
            call("cuDeviceGetName", text, 256, 0);
            return text.getString(0);
        }
    }

    /** Whether this is no GPU but the stand-in over host memory, which exports a counter that CUDA has not. */
    boolean standIn() {
        return driver.find("heddleStandInCount").isPresent();
    }

    /** The newest CUDA that the driver knows, such as 13.0. */
    String version() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment version = arena.allocate(ValueLayout.JAVA_INT);
            call("cuDriverGetVersion", version);
            int number = version.get(ValueLayout.JAVA_INT, 0);
            return number / 1000 + "." + number % 1000 / 10;
        }
    }

    /** Bytes of device memory: all there is, or what is free. */
    long memory(boolean total) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment free = arena.allocate(ValueLayout.JAVA_LONG);
            MemorySegment all = arena.allocate(ValueLayout.JAVA_LONG);
            call("cuMemGetInfo_v2", free, all);
            return (total ? all : free).get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /** Bytes read and written a second, in 1e9, by the driver's own copy of so many bytes; the best of three series. */
    public static double copyBandwidth(long bytes) {
        return new GpuInfo().copy(bytes);
    }

    private double copy(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment address = arena.allocate(ValueLayout.JAVA_LONG);
            call("cuMemAlloc_v2", address, bytes);
            long from = address.get(ValueLayout.JAVA_LONG, 0);
            call("cuMemAlloc_v2", address, bytes);
            long to = address.get(ValueLayout.JAVA_LONG, 0);
            call("cuMemsetD8_v2", from, (byte) 7, bytes);
            double best = 0;
            for (int series = 0; series < 4; series++) { // the first warms up
                call("cuCtxSynchronize");
                long start = System.nanoTime();
                for (int i = 0; i < COPIES; i++) {
                    call("cuMemcpyDtoDAsync_v2", to, from, bytes, 0L);
                }
                call("cuCtxSynchronize");
                double seconds = (System.nanoTime() - start) / 1e9;
                best = series == 0 ? 0 : Math.max(best, 2.0 * bytes * COPIES / seconds / 1e9);
            }
            call("cuMemFree_v2", from);
            call("cuMemFree_v2", to);
            return best;
        }
    }

    private void call(String function, Object... arguments) {
        MemoryLayout[] layouts = new MemoryLayout[arguments.length];
        for (int i = 0; i < layouts.length; i++) {
            layouts[i] = switch (arguments[i]) {
                case Integer number -> ValueLayout.JAVA_INT;
                case Long number -> ValueLayout.JAVA_LONG;
                case Byte number -> ValueLayout.JAVA_BYTE;
                default -> ValueLayout.ADDRESS;
            };
        }
        int status;
        try {
            status = (int) Linker.nativeLinker().downcallHandle(driver.find(function).orElseThrow(),
                    FunctionDescriptor.of(ValueLayout.JAVA_INT, layouts)).invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new IllegalStateException(function, e);
        }
        if (status != 0) {
            throw new IllegalStateException(function + ": CUDA error " + status);
        }
    }
}
