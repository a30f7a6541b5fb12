// The CUDA driver API, function by function. Names of C functions carry their version where they have one: the bare names
// are the first versions, with other parameters.
package dev.heddle.engine.cuda;

import static dev.heddle.engine.cuda.NativeLibrary.POINTER;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.HexFormat;

/**
 * {@code libcuda}. Device pointers, host addresses and all handles (contexts, streams, events, modules, functions, graphs) are
 * {@code long}s; 0 is none, and the default stream. Sizes are bytes unless a comment says otherwise. Every method throws
 * {@link CudaException} if the call fails, which may also be the late report of an earlier asynchronous one.
 */
final class Driver {
    private static final int MOST_PARAMETERS = 512;
    static final int CUDA_SUCCESS = 0;
    static final int CUDA_ERROR_OUT_OF_MEMORY = 2;
    static final int CUDA_ERROR_NOT_READY = 600;
    static final int CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE = 910;

    static final int CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1;
    static final int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8;
    static final int CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10;
    static final int CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13;
    static final int CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16;
    static final int CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE = 36;
    static final int CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37;
    static final int CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38;
    static final int CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR = 39;
    static final int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75;
    static final int CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76;
    static final int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81;
    static final int CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97;

    static final int CU_STREAM_NON_BLOCKING = 1;
    static final int CU_EVENT_DEFAULT = 0;
    static final int CU_EVENT_DISABLE_TIMING = 2;

    static final int CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0;
    static final int CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1;
    static final int CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3;
    static final int CU_FUNC_ATTRIBUTE_NUM_REGS = 4;
    static final int CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8;
    static final int CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT = 9;

    static final int CU_STREAM_CAPTURE_MODE_GLOBAL = 0;
    static final int CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1;
    static final int CU_STREAM_CAPTURE_MODE_RELAXED = 2;

    static final int CU_GRAPH_EXEC_UPDATE_SUCCESS = 0;
    static final int CU_GRAPH_EXEC_UPDATE_ERROR = 1;
    static final int CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED = 2;

    /** {@code CUgraphExecUpdateResultInfo}, 24 bytes: the result, the node that differs, the node that it depends on. */
    static final MemoryLayout GRAPH_EXEC_UPDATE_RESULT_INFO =
            MemoryLayout.structLayout(JAVA_INT, MemoryLayout.paddingLayout(4), POINTER, POINTER);
    /** {@code CUuuid}, 16 bytes. */
    static final MemoryLayout UUID = MemoryLayout.sequenceLayout(16, JAVA_BYTE);
    private static final MemoryLayout NAME = MemoryLayout.sequenceLayout(256, JAVA_BYTE);

    private static final NativeLibrary LIBRARY = CudaLibraries.DRIVER;

    private static final NativeFunction GET_ERROR_NAME = LIBRARY.function("cuGetErrorName", JAVA_INT, POINTER);
    private static final NativeFunction GET_ERROR_STRING = LIBRARY.function("cuGetErrorString", JAVA_INT, POINTER);

    private static final NativeFunction INIT = LIBRARY.function("cuInit", JAVA_INT);
    private static final NativeFunction DRIVER_GET_VERSION = LIBRARY.function("cuDriverGetVersion", POINTER);
    private static final NativeFunction DEVICE_GET_COUNT = LIBRARY.function("cuDeviceGetCount", POINTER);
    private static final NativeFunction DEVICE_GET = LIBRARY.function("cuDeviceGet", POINTER, JAVA_INT);
    private static final NativeFunction DEVICE_GET_NAME = LIBRARY.function("cuDeviceGetName", POINTER, JAVA_INT, JAVA_INT);
    private static final NativeFunction DEVICE_GET_ATTRIBUTE =
            LIBRARY.function("cuDeviceGetAttribute", POINTER, JAVA_INT, JAVA_INT);
    private static final NativeFunction DEVICE_TOTAL_MEM = LIBRARY.function("cuDeviceTotalMem_v2", POINTER, JAVA_INT);
    private static final NativeFunction DEVICE_GET_UUID = LIBRARY.function("cuDeviceGetUuid_v2", POINTER, JAVA_INT);

    private static final NativeFunction DEVICE_PRIMARY_CTX_RETAIN =
            LIBRARY.function("cuDevicePrimaryCtxRetain", POINTER, JAVA_INT);
    private static final NativeFunction DEVICE_PRIMARY_CTX_RELEASE =
            LIBRARY.function("cuDevicePrimaryCtxRelease_v2", JAVA_INT);
    private static final NativeFunction CTX_SET_CURRENT = LIBRARY.function("cuCtxSetCurrent", POINTER);
    private static final NativeFunction CTX_GET_CURRENT = LIBRARY.function("cuCtxGetCurrent", POINTER);
    private static final NativeFunction CTX_GET_DEVICE = LIBRARY.function("cuCtxGetDevice", POINTER);
    private static final NativeFunction CTX_SYNCHRONIZE = LIBRARY.function("cuCtxSynchronize");

    private static final NativeFunction MEM_ALLOC = LIBRARY.function("cuMemAlloc_v2", POINTER, JAVA_LONG);
    private static final NativeFunction MEM_FREE = LIBRARY.function("cuMemFree_v2", JAVA_LONG);
    private static final NativeFunction MEM_GET_INFO = LIBRARY.function("cuMemGetInfo_v2", POINTER, POINTER);
    private static final NativeFunction MEM_ALLOC_HOST = LIBRARY.function("cuMemAllocHost_v2", POINTER, JAVA_LONG);
    private static final NativeFunction MEM_FREE_HOST = LIBRARY.function("cuMemFreeHost", POINTER);
    private static final NativeFunction MEMCPY_HTOD_ASYNC =
            LIBRARY.function("cuMemcpyHtoDAsync_v2", JAVA_LONG, POINTER, JAVA_LONG, POINTER);
    private static final NativeFunction MEMCPY_DTOH_ASYNC =
            LIBRARY.function("cuMemcpyDtoHAsync_v2", POINTER, JAVA_LONG, JAVA_LONG, POINTER);
    private static final NativeFunction MEMCPY_DTOD_ASYNC =
            LIBRARY.function("cuMemcpyDtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, POINTER);
    private static final NativeFunction MEMSET_D8_ASYNC =
            LIBRARY.function("cuMemsetD8Async", JAVA_LONG, JAVA_BYTE, JAVA_LONG, POINTER);
    private static final NativeFunction MEMSET_D32_ASYNC =
            LIBRARY.function("cuMemsetD32Async", JAVA_LONG, JAVA_INT, JAVA_LONG, POINTER);

    private static final NativeFunction STREAM_CREATE = LIBRARY.function("cuStreamCreate", POINTER, JAVA_INT);
    private static final NativeFunction STREAM_DESTROY = LIBRARY.function("cuStreamDestroy_v2", POINTER);
    private static final NativeFunction STREAM_SYNCHRONIZE = LIBRARY.function("cuStreamSynchronize", POINTER);
    private static final NativeFunction STREAM_WAIT_EVENT =
            LIBRARY.function("cuStreamWaitEvent", POINTER, POINTER, JAVA_INT);
    private static final NativeFunction EVENT_CREATE = LIBRARY.function("cuEventCreate", POINTER, JAVA_INT);
    private static final NativeFunction EVENT_DESTROY = LIBRARY.function("cuEventDestroy_v2", POINTER);
    private static final NativeFunction EVENT_RECORD = LIBRARY.function("cuEventRecord", POINTER, POINTER);
    private static final NativeFunction EVENT_QUERY = LIBRARY.function("cuEventQuery", POINTER);
    private static final NativeFunction EVENT_SYNCHRONIZE = LIBRARY.function("cuEventSynchronize", POINTER);
    private static final NativeFunction EVENT_ELAPSED_TIME = // every driver has this one; _v2 came with 12.8
            LIBRARY.function("cuEventElapsedTime", POINTER, POINTER, POINTER);

    private static final NativeFunction MODULE_LOAD_DATA = LIBRARY.function("cuModuleLoadData", POINTER, POINTER);
    private static final NativeFunction MODULE_UNLOAD = LIBRARY.function("cuModuleUnload", POINTER);
    private static final NativeFunction MODULE_GET_FUNCTION =
            LIBRARY.function("cuModuleGetFunction", POINTER, POINTER, POINTER);
    private static final NativeFunction FUNC_SET_ATTRIBUTE =
            LIBRARY.function("cuFuncSetAttribute", POINTER, JAVA_INT, JAVA_INT);
    private static final NativeFunction FUNC_GET_ATTRIBUTE =
            LIBRARY.function("cuFuncGetAttribute", POINTER, JAVA_INT, POINTER);
    private static final NativeFunction FUNC_GET_PARAM_INFO = // since 12.4
            LIBRARY.function("cuFuncGetParamInfo", POINTER, JAVA_LONG, POINTER, POINTER);
    private static final NativeFunction LAUNCH_KERNEL = LIBRARY.function("cuLaunchKernel", POINTER, JAVA_INT, JAVA_INT,
            JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_INT, POINTER, POINTER, POINTER);
    private static final NativeFunction OCCUPANCY = LIBRARY.function("cuOccupancyMaxActiveBlocksPerMultiprocessor", POINTER,
            POINTER, JAVA_INT, JAVA_LONG);

    private static final NativeFunction STREAM_BEGIN_CAPTURE =
            LIBRARY.function("cuStreamBeginCapture_v2", POINTER, JAVA_INT);
    private static final NativeFunction STREAM_END_CAPTURE = LIBRARY.function("cuStreamEndCapture", POINTER, POINTER);
    private static final NativeFunction GRAPH_INSTANTIATE =
            LIBRARY.function("cuGraphInstantiateWithFlags", POINTER, POINTER, JAVA_LONG);
    private static final NativeFunction GRAPH_EXEC_UPDATE =
            LIBRARY.function("cuGraphExecUpdate_v2", POINTER, POINTER, POINTER);
    private static final NativeFunction GRAPH_LAUNCH = LIBRARY.function("cuGraphLaunch", POINTER, POINTER);
    private static final NativeFunction GRAPH_DESTROY = LIBRARY.function("cuGraphDestroy", POINTER);
    private static final NativeFunction GRAPH_EXEC_DESTROY = LIBRARY.function("cuGraphExecDestroy", POINTER);
    private static final NativeFunction GRAPH_GET_NODES = LIBRARY.function("cuGraphGetNodes", POINTER, POINTER, POINTER);

    // What runs at every step.
    private static final MethodHandle MEMCPY_HTOD_ASYNC_HANDLE = MEMCPY_HTOD_ASYNC.dynamicInvoker();
    private static final MethodHandle MEMCPY_DTOH_ASYNC_HANDLE = MEMCPY_DTOH_ASYNC.dynamicInvoker();
    private static final MethodHandle MEMCPY_DTOD_ASYNC_HANDLE = MEMCPY_DTOD_ASYNC.dynamicInvoker();
    private static final MethodHandle MEMSET_D8_ASYNC_HANDLE = MEMSET_D8_ASYNC.dynamicInvoker();
    private static final MethodHandle MEMSET_D32_ASYNC_HANDLE = MEMSET_D32_ASYNC.dynamicInvoker();
    private static final MethodHandle STREAM_SYNCHRONIZE_HANDLE = STREAM_SYNCHRONIZE.dynamicInvoker();
    private static final MethodHandle STREAM_WAIT_EVENT_HANDLE = STREAM_WAIT_EVENT.dynamicInvoker();
    private static final MethodHandle EVENT_RECORD_HANDLE = EVENT_RECORD.dynamicInvoker();
    private static final MethodHandle EVENT_QUERY_HANDLE = EVENT_QUERY.dynamicInvoker();
    private static final MethodHandle EVENT_SYNCHRONIZE_HANDLE = EVENT_SYNCHRONIZE.dynamicInvoker();
    private static final MethodHandle LAUNCH_KERNEL_HANDLE = LAUNCH_KERNEL.dynamicInvoker();
    private static final MethodHandle GRAPH_LAUNCH_HANDLE = GRAPH_LAUNCH.dynamicInvoker();

    private Driver() {
    }

    /** {@code cuInit}: must come before all but {@link #version()}. */
    static void init() {
        INIT.call(0);
    }

    /** The newest CUDA version that the driver knows: 13010 is 13.1. */
    static int version() {
        return DRIVER_GET_VERSION.getInt();
    }

    /** The number of devices that can be used. */
    static int deviceCount() {
        return DEVICE_GET_COUNT.getInt();
    }

    /** The handle of the {@code index}-th device. */
    static int device(int index) {
        return DEVICE_GET.getInt(index);
    }

    /** The device's name, such as {@code NVIDIA H200}. */
    static String deviceName(int device) {
        try (Arena arena = Arena.ofConfined()) {
            return DEVICE_GET_NAME.get(arena, NAME, (int) NAME.byteSize(), device).getString(0);
        }
    }

    /** One {@code CU_DEVICE_ATTRIBUTE}. */
    static int deviceAttribute(int attribute, int device) {
        return DEVICE_GET_ATTRIBUTE.getInt(attribute, device);
    }

    /** The device's memory. */
    static long deviceTotalMem(int device) {
        return DEVICE_TOTAL_MEM.getLong(device);
    }

    /** The device's UUID in hexadecimal. */
    static String deviceUuid(int device) {
        try (Arena arena = Arena.ofConfined()) {
            return HexFormat.of().formatHex(DEVICE_GET_UUID.get(arena, UUID, device).toArray(JAVA_BYTE));
        }
    }

    /** The device's primary context, which is the one that other CUDA libraries use. */
    static long primaryCtxRetain(int device) {
        return DEVICE_PRIMARY_CTX_RETAIN.getLong(device);
    }

    /** Undoes one {@link #primaryCtxRetain}. */
    static void primaryCtxRelease(int device) {
        DEVICE_PRIMARY_CTX_RELEASE.call(device);
    }

    /** Makes a context that of the calling operating-system thread. */
    static void ctxSetCurrent(long context) {
        CTX_SET_CURRENT.call(context);
    }

    /** The calling thread's context, or 0. */
    static long ctxCurrent() {
        return CTX_GET_CURRENT.getLong();
    }

    /** Waits for everything on the current context. */
    static void ctxSynchronize() {
        CTX_SYNCHRONIZE.call();
    }

    /** Device memory, aligned to 256 bytes; {@link CudaException#OUT_OF_MEMORY} if there is none. */
    static long memAlloc(long bytes) {
        return MEM_ALLOC.getLong(bytes);
    }

    /** Gives device memory back; waits for the device. */
    static void memFree(long pointer) {
        MEM_FREE.call(pointer);
    }

    /** Memory of the device: how much no process uses, and how much there is. */
    record MemInfo(long free, long total) {
    }

    /** Memory of the current device. */
    static MemInfo memInfo() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment total = arena.allocate(JAVA_LONG);
            MemorySegment free = MEM_GET_INFO.get(arena, JAVA_LONG, total.address());
            return new MemInfo(free.get(JAVA_LONG, 0), total.get(JAVA_LONG, 0));
        }
    }

    /** Page-locked host memory. */
    static long memAllocHost(long bytes) {
        return MEM_ALLOC_HOST.getLong(bytes);
    }

    /** Gives page-locked memory back. */
    static void memFreeHost(long address) {
        MEM_FREE_HOST.call(address);
    }

    /** Copies from the host, asynchronously if the host memory is page-locked. */
    static void memcpyHtoDAsync(long to, long hostAddress, long bytes, long stream) {
        try {
            MEMCPY_HTOD_ASYNC.check((int) MEMCPY_HTOD_ASYNC_HANDLE.invokeExact(to, hostAddress, bytes, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Copies to the host, asynchronously if the host memory is page-locked. */
    static void memcpyDtoHAsync(long toHostAddress, long from, long bytes, long stream) {
        try {
            MEMCPY_DTOH_ASYNC.check((int) MEMCPY_DTOH_ASYNC_HANDLE.invokeExact(toHostAddress, from, bytes, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Copies on the device. */
    static void memcpyDtoDAsync(long to, long from, long bytes, long stream) {
        try {
            MEMCPY_DTOD_ASYNC.check((int) MEMCPY_DTOD_ASYNC_HANDLE.invokeExact(to, from, bytes, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Fills with a byte. */
    static void memsetD8Async(long to, byte value, long count, long stream) {
        try {
            MEMSET_D8_ASYNC.check((int) MEMSET_D8_ASYNC_HANDLE.invokeExact(to, value, count, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Fills with {@code count} ints; {@code to} is a multiple of 4. */
    static void memsetD32Async(long to, int value, long count, long stream) {
        try {
            MEMSET_D32_ASYNC.check((int) MEMSET_D32_ASYNC_HANDLE.invokeExact(to, value, count, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** A stream; {@link #CU_STREAM_NON_BLOCKING} does not wait for the default one. */
    static long streamCreate(int flags) {
        return STREAM_CREATE.getLong(flags);
    }

    /** Destroys a stream when its work is done. */
    static void streamDestroy(long stream) {
        STREAM_DESTROY.call(stream);
    }

    /** Waits for a stream's work. */
    static void streamSynchronize(long stream) {
        try {
            STREAM_SYNCHRONIZE.check((int) STREAM_SYNCHRONIZE_HANDLE.invokeExact(stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Makes what follows on a stream wait for an event. */
    static void streamWaitEvent(long stream, long event) {
        try {
            STREAM_WAIT_EVENT.check((int) STREAM_WAIT_EVENT_HANDLE.invokeExact(stream, event, 0));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** An event; {@link #CU_EVENT_DISABLE_TIMING} makes it cheaper. */
    static long eventCreate(int flags) {
        return EVENT_CREATE.getLong(flags);
    }

    /** Destroys an event. */
    static void eventDestroy(long event) {
        EVENT_DESTROY.call(event);
    }

    /** Records an event behind a stream's work so far. */
    static void eventRecord(long event, long stream) {
        try {
            EVENT_RECORD.check((int) EVENT_RECORD_HANDLE.invokeExact(event, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Whether the work before an event is done. */
    static boolean eventQuery(long event) {
        try {
            int status = (int) EVENT_QUERY_HANDLE.invokeExact(event);
            if (status != CUDA_ERROR_NOT_READY) {
                EVENT_QUERY.check(status);
            }
            return status == CUDA_SUCCESS;
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Waits for the work before an event. */
    static void eventSynchronize(long event) {
        try {
            EVENT_SYNCHRONIZE.check((int) EVENT_SYNCHRONIZE_HANDLE.invokeExact(event));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Milliseconds between two events, to about half a microsecond. */
    static float eventElapsedTime(long start, long end) {
        return Float.intBitsToFloat(EVENT_ELAPSED_TIME.getInt(start, end));
    }

    /** Loads a cubin, or PTX, into the current context. */
    static long moduleLoadData(byte[] image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(image.length + 1L, 16); // the zero at the end is for PTX, which is text
            MemorySegment.copy(image, 0, data, JAVA_BYTE, 0, image.length);
            return MODULE_LOAD_DATA.getLong(data.address());
        }
    }

    /** Unloads a module. */
    static void moduleUnload(long module) {
        MODULE_UNLOAD.call(module);
    }

    /** A kernel of a module, by the name that {@code extern "C"} gives it. */
    static long moduleGetFunction(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            return MODULE_GET_FUNCTION.getLong(module, arena.allocateFrom(name).address());
        } catch (CudaException e) {
            throw e.in(name);
        }
    }

    /** Sets one {@code CU_FUNC_ATTRIBUTE}. */
    static void funcSetAttribute(long function, int attribute, int value) {
        FUNC_SET_ATTRIBUTE.call(function, attribute, value);
    }

    /** One {@code CU_FUNC_ATTRIBUTE}. */
    static int funcGetAttribute(long function, int attribute) {
        return FUNC_GET_ATTRIBUTE.getInt(attribute, function);
    }

    /** The sizes of a kernel's parameters in bytes; null if the driver is too old to tell. */
    static int[] funcParamSizes(long function) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment info = arena.allocate(2 * JAVA_LONG.byteSize(), JAVA_LONG.byteAlignment()); // offset, size
            int[] sizes = new int[MOST_PARAMETERS];
            for (int i = 0; i < sizes.length; i++) {
                if (FUNC_GET_PARAM_INFO.status(function, (long) i, info.address(), info.address() + JAVA_LONG.byteSize()) != CUDA_SUCCESS) {
                    return java.util.Arrays.copyOf(sizes, i);
                }
                sizes[i] = (int) info.get(JAVA_LONG, JAVA_LONG.byteSize());
            }
            return sizes;
        } catch (CudaException e) { // no such function
            return null;
        }
    }

    /**
     * Launches a kernel.
     *
     * @param sharedBytes dynamic shared memory
     * @param parameters the address of an array of pointers, one to each of the kernel's arguments; read during the call
     */
    static void launchKernel(long function, int gridX, int gridY, int gridZ, int blockX, int blockY, int blockZ,
            int sharedBytes, long stream, long parameters) {
        try {
            LAUNCH_KERNEL.check((int) LAUNCH_KERNEL_HANDLE.invokeExact(function, gridX, gridY, gridZ, blockX, blockY, blockZ,
                    sharedBytes, stream, parameters, 0L));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** How many blocks of a kernel one multiprocessor can hold. */
    static int occupancyMaxActiveBlocksPerMultiprocessor(long function, int blockSize, long sharedBytes) {
        return OCCUPANCY.getInt(function, blockSize, sharedBytes);
    }

    /** From now on work put on the stream is recorded, not run; {@code mode} is a {@code CU_STREAM_CAPTURE_MODE}. */
    static void streamBeginCapture(long stream, int mode) {
        STREAM_BEGIN_CAPTURE.call(stream, mode);
    }

    /** Ends a capture and returns the graph. */
    static long streamEndCapture(long stream) {
        return STREAM_END_CAPTURE.getLastLong(stream);
    }

    /** Makes a graph executable. */
    static long graphInstantiate(long graph) {
        return GRAPH_INSTANTIATE.getLong(graph, 0L);
    }

    /**
     * Gives an executable graph the parameters of another graph.
     *
     * @return {@link #CU_GRAPH_EXEC_UPDATE_SUCCESS}, or a reason why the graphs differ too much, in which case nothing changed
     */
    static int graphExecUpdate(long exec, long graph) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment info = arena.allocate(GRAPH_EXEC_UPDATE_RESULT_INFO);
            int status = GRAPH_EXEC_UPDATE.status(exec, graph, info.address());
            if (status != CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) {
                GRAPH_EXEC_UPDATE.check(status);
            }
            return info.get(JAVA_INT, 0);
        }
    }

    /** Runs an executable graph. */
    static void graphLaunch(long exec, long stream) {
        try {
            GRAPH_LAUNCH.check((int) GRAPH_LAUNCH_HANDLE.invokeExact(exec, stream));
        } catch (Throwable e) {
            throw NativeFunction.unchecked(e);
        }
    }

    /** Destroys a graph; executable ones made from it stay. */
    static void graphDestroy(long graph) {
        GRAPH_DESTROY.call(graph);
    }

    /** Destroys an executable graph. */
    static void graphExecDestroy(long exec) {
        GRAPH_EXEC_DESTROY.call(exec);
    }

    /** The number of a graph's nodes. */
    static long graphNodeCount(long graph) {
        return GRAPH_GET_NODES.getLastLong(graph, 0L);
    }

    static CudaException failure(String call, int status) {
        return new CudaException(call, status, errorText(GET_ERROR_NAME, status), errorText(GET_ERROR_STRING, status),
                currentDevice());
    }

    /** The driver's words for a status; if the driver is older than the status, its number. */
    private static String errorText(NativeFunction function, int status) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(JAVA_LONG);
            boolean known = function.status(status, result.address()) == CUDA_SUCCESS;
            return known ? DynamicLoader.text(result.get(JAVA_LONG, 0)) : "status " + status;
        }
    }

    /** The index of the calling thread's device for messages, or -1 if there is none. */
    static int currentDevice() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment result = arena.allocate(JAVA_INT);
            boolean any = LIBRARY.load() && CTX_GET_DEVICE.status(result.address()) == CUDA_SUCCESS;
            return any ? result.get(JAVA_INT, 0) : -1;
        }
    }
}
