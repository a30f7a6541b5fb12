// What the driver API returns, through JCudaDriver.
package dev.heddle.jcuda;

import static dev.heddle.jcuda.Handles.pointer;
import static dev.heddle.jcuda.Handles.set;
import static dev.heddle.jcuda.Handles.store;
import static dev.heddle.jcuda.Handles.stream;

import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUgraph;
import jcuda.driver.CUgraphExec;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;

/**
 * Methods with the names and parameters of C's functions, for those that have results; {@link JCudaBinding} adapts the others.
 * {@code cuGetErrorName}, {@code cuGetErrorString}, {@code cuDeviceGetUuid_v2}, {@code cuGraphExecUpdate_v2}, {@code cuFuncGetParamInfo} and
 * {@code cuGraphGetNodes} are called directly: JCuda has them not, or in a form that says less.
 */
final class DriverFunctions {
    private DriverFunctions() {
    }

    static int cuDriverGetVersion(long result) {
        int[] version = new int[1];
        return store(result, version, JCudaDriver.cuDriverGetVersion(version));
    }

    static int cuDeviceGetCount(long result) {
        int[] count = new int[1];
        return store(result, count, JCudaDriver.cuDeviceGetCount(count));
    }

    static int cuDeviceGet(long result, int index) {
        CUdevice device = new CUdevice();
        int status = JCudaDriver.cuDeviceGet(device, index);
        return store(result, new int[] {(int) Handles.get(device)}, status);
    }

    private static CUdevice ofDevice(int device) {
        return set(new CUdevice(), device);
    }

    static int cuDeviceGetName(long result, int bytes, int device) {
        byte[] name = new byte[bytes];
        int status = JCudaDriver.cuDeviceGetName(name, bytes, ofDevice(device));
        store(result, name, bytes);
        return status;
    }

    static int cuDeviceGetAttribute(long result, int attribute, int device) {
        int[] value = new int[1];
        return store(result, value, JCudaDriver.cuDeviceGetAttribute(value, attribute, ofDevice(device)));
    }

    static int cuDeviceTotalMem_v2(long result, int device) {
        long[] bytes = new long[1];
        return store(result, bytes, JCudaDriver.cuDeviceTotalMem(bytes, ofDevice(device)));
    }

    static int cuDevicePrimaryCtxRetain(long result, int device) {
        CUcontext context = new CUcontext();
        return store(result, context, JCudaDriver.cuDevicePrimaryCtxRetain(context, ofDevice(device)));
    }

    static int cuCtxGetCurrent(long result) {
        CUcontext context = new CUcontext();
        return store(result, context, JCudaDriver.cuCtxGetCurrent(context));
    }

    static int cuCtxGetDevice(long result) {
        CUdevice device = new CUdevice();
        int status = JCudaDriver.cuCtxGetDevice(device);
        return store(result, new int[] {(int) Handles.get(device)}, status);
    }

    // ---- memory

    static int cuMemAlloc_v2(long result, long bytes) {
        CUdeviceptr address = new CUdeviceptr();
        return store(result, address, JCudaDriver.cuMemAlloc(address, bytes));
    }

    static int cuMemGetInfo_v2(long free, long total) {
        long[] ofDevice = new long[1];
        long[] unused = new long[1];
        int status = JCudaDriver.cuMemGetInfo(unused, ofDevice);
        store(total, ofDevice, status);
        return store(free, unused, status);
    }

    static int cuMemAllocHost_v2(long result, long bytes) {
        Pointer address = new Pointer();
        return store(result, address, JCudaDriver.cuMemAllocHost(address, bytes));
    }

    // ---- streams and events

    static int cuStreamCreate(long result, int flags) {
        CUstream stream = new CUstream();
        return store(result, stream, JCudaDriver.cuStreamCreate(stream, flags));
    }

    private static CUevent event(long event) {
        return set(new CUevent(), event);
    }

    static int cuEventCreate(long result, int flags) {
        CUevent event = new CUevent();
        return store(result, event, JCudaDriver.cuEventCreate(event, flags));
    }

    static int cuEventElapsedTime(long result, long start, long end) {
        float[] milliseconds = new float[1];
        int status = JCudaDriver.cuEventElapsedTime(milliseconds, event(start), event(end));
        return store(result, new int[] {Float.floatToRawIntBits(milliseconds[0])}, status);
    }

    // ---- modules and kernels

    static int cuModuleLoadData(long result, long image) {
        CUmodule module = new CUmodule();
        return store(result, module, JCudaDriver.cuModuleLoadDataEx(module, pointer(image), 0, new int[0], null));
    }

    static int cuModuleGetFunction(long result, long module, long name) {
        CUfunction function = new CUfunction();
        return store(result, function,
                JCudaDriver.cuModuleGetFunction(function, set(new CUmodule(), module), Handles.text(name)));
    }

    private static CUfunction function(long function) {
        return set(new CUfunction(), function);
    }

    static int cuFuncGetAttribute(long result, int attribute, long function) {
        int[] value = new int[1];
        return store(result, value, JCudaDriver.cuFuncGetAttribute(value, attribute, function(function)));
    }

    static int cuOccupancyMaxActiveBlocksPerMultiprocessor(long result, long function, int blockSize, long sharedBytes) {
        int[] blocks = new int[1];
        return store(result, blocks, JCudaDriver.cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function(function),
                blockSize, sharedBytes));
    }

    // ---- graphs

    static int cuStreamEndCapture(long stream, long result) {
        CUgraph graph = new CUgraph();
        return store(result, graph, JCudaDriver.cuStreamEndCapture(stream(stream), graph));
    }

    static int cuGraphInstantiateWithFlags(long result, long graph, long flags) {
        CUgraphExec exec = new CUgraphExec();
        return store(result, exec, JCudaDriver.cuGraphInstantiate(exec, set(new CUgraph(), graph), flags));
    }
}
