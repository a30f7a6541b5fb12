// What cuDNN's convolutions return, through JCudnn.
package dev.heddle.jcuda;

import static dev.heddle.jcuda.Handles.ints;
import static dev.heddle.jcuda.Handles.pointer;
import static dev.heddle.jcuda.Handles.set;
import static dev.heddle.jcuda.Handles.store;

import dev.heddle.engine.memory.Memory;
import java.util.Arrays;
import jcuda.jcudnn.JCudnn;
import jcuda.jcudnn.cudnnConvolutionBwdDataAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionBwdFilterAlgoPerf;
import jcuda.jcudnn.cudnnConvolutionDescriptor;
import jcuda.jcudnn.cudnnConvolutionFwdAlgoPerf;
import jcuda.jcudnn.cudnnFilterDescriptor;
import jcuda.jcudnn.cudnnHandle;
import jcuda.jcudnn.cudnnTensorDescriptor;

/**
 * Methods with the names and parameters of C's functions, for those that have arrays or results; {@link JCudaBinding} adapts
 * the others. Pooling, normalisation, dropout and recurrent networks are set up by direct calls: JCudnn's newest classes are those
 * of cuDNN 8. (Its newest native library, for cuDNN 9, has the same methods for convolutions.)
 */
final class CudnnFunctions {
    private static final int PERF = 48; // bytes of a cudnnConvolutionFwdAlgoPerf_t and its like

    private CudnnFunctions() {
    }

    private static cudnnHandle handle(long handle) {
        return set(new cudnnHandle(), handle);
    }

    private static cudnnTensorDescriptor tensor(long descriptor) {
        return set(new cudnnTensorDescriptor(), descriptor);
    }

    private static cudnnFilterDescriptor filter(long descriptor) {
        return set(new cudnnFilterDescriptor(), descriptor);
    }

    private static cudnnConvolutionDescriptor convolution(long descriptor) {
        return set(new cudnnConvolutionDescriptor(), descriptor);
    }

    static int cudnnCreate(long result) {
        cudnnHandle created = new cudnnHandle();
        return store(result, created, JCudnn.cudnnCreate(created));
    }

    static int cudnnCreateTensorDescriptor(long result) {
        cudnnTensorDescriptor created = new cudnnTensorDescriptor();
        return store(result, created, JCudnn.cudnnCreateTensorDescriptor(created));
    }

    static int cudnnCreateFilterDescriptor(long result) {
        cudnnFilterDescriptor created = new cudnnFilterDescriptor();
        return store(result, created, JCudnn.cudnnCreateFilterDescriptor(created));
    }

    static int cudnnCreateConvolutionDescriptor(long result) {
        cudnnConvolutionDescriptor created = new cudnnConvolutionDescriptor();
        return store(result, created, JCudnn.cudnnCreateConvolutionDescriptor(created));
    }

    static int cudnnSetTensorNdDescriptor(long descriptor, int type, int rank, long sizes, long strides) {
        return JCudnn.cudnnSetTensorNdDescriptor(tensor(descriptor), type, rank, ints(rank, sizes), ints(rank, strides));
    }

    static int cudnnSetFilterNdDescriptor(long descriptor, int type, int format, int rank, long sizes) {
        return JCudnn.cudnnSetFilterNdDescriptor(filter(descriptor), type, format, rank, ints(rank, sizes));
    }

    static int cudnnSetConvolutionNdDescriptor(long descriptor, int rank, long padding, long stride, long dilation, int mode, int type) {
        return JCudnn.cudnnSetConvolutionNdDescriptor(convolution(descriptor), rank, ints(rank, padding), ints(rank, stride),
                ints(rank, dilation), mode, type);
    }

    // ---- algorithms

    private static void perf(long result, int algo, int status, float time, long memory, int determinism, int mathType) {
        Memory.putInt(result, algo);
        Memory.putInt(result + 4, status);
        Memory.putInt(result + 8, Float.floatToRawIntBits(time));
        Memory.putLong(result + 16, memory);
        Memory.putInt(result + 24, determinism);
        Memory.putInt(result + 28, mathType);
    }

    private static cudnnConvolutionFwdAlgoPerf[] forward(int count) {
        cudnnConvolutionFwdAlgoPerf[] found = new cudnnConvolutionFwdAlgoPerf[count];
        Arrays.setAll(found, _ -> new cudnnConvolutionFwdAlgoPerf());
        return found;
    }

    private static int results(cudnnConvolutionFwdAlgoPerf[] found, int[] count, long returned, long results, int status) {
        for (int i = 0; status == 0 && i < count[0]; i++) {
            cudnnConvolutionFwdAlgoPerf p = found[i];
            perf(results + (long) PERF * i, p.algo, p.status, p.time, p.memory, p.determinism, p.mathType);
        }
        return store(returned, count, status);
    }

    private static cudnnConvolutionBwdDataAlgoPerf[] backwardData(int count) {
        cudnnConvolutionBwdDataAlgoPerf[] found = new cudnnConvolutionBwdDataAlgoPerf[count];
        Arrays.setAll(found, _ -> new cudnnConvolutionBwdDataAlgoPerf());
        return found;
    }

    private static int results(cudnnConvolutionBwdDataAlgoPerf[] found, int[] count, long returned, long results, int status) {
        for (int i = 0; status == 0 && i < count[0]; i++) {
            cudnnConvolutionBwdDataAlgoPerf p = found[i];
            perf(results + (long) PERF * i, p.algo, p.status, p.time, p.memory, p.determinism, p.mathType);
        }
        return store(returned, count, status);
    }

    private static cudnnConvolutionBwdFilterAlgoPerf[] backwardFilter(int count) {
        cudnnConvolutionBwdFilterAlgoPerf[] found = new cudnnConvolutionBwdFilterAlgoPerf[count];
        Arrays.setAll(found, _ -> new cudnnConvolutionBwdFilterAlgoPerf());
        return found;
    }

    private static int results(cudnnConvolutionBwdFilterAlgoPerf[] found, int[] count, long returned, long results, int status) {
        for (int i = 0; status == 0 && i < count[0]; i++) {
            cudnnConvolutionBwdFilterAlgoPerf p = found[i];
            perf(results + (long) PERF * i, p.algo, p.status, p.time, p.memory, p.determinism, p.mathType);
        }
        return store(returned, count, status);
    }

    static int cudnnGetConvolutionForwardAlgorithm_v7(long handle, long x, long w, long convolution, long y, int count, long returned,
            long results) {
        int[] n = new int[1];
        cudnnConvolutionFwdAlgoPerf[] found = forward(count);
        return results(found, n, returned, results, JCudnn.cudnnGetConvolutionForwardAlgorithm_v7(handle(handle), tensor(x), filter(w),
                convolution(convolution), tensor(y), count, n, found));
    }

    static int cudnnGetConvolutionBackwardDataAlgorithm_v7(long handle, long w, long dy, long convolution, long dx, int count,
            long returned, long results) {
        int[] n = new int[1];
        cudnnConvolutionBwdDataAlgoPerf[] found = backwardData(count);
        return results(found, n, returned, results, JCudnn.cudnnGetConvolutionBackwardDataAlgorithm_v7(handle(handle), filter(w),
                tensor(dy), convolution(convolution), tensor(dx), count, n, found));
    }

    static int cudnnGetConvolutionBackwardFilterAlgorithm_v7(long handle, long x, long dy, long convolution, long dw, int count,
            long returned, long results) {
        int[] n = new int[1];
        cudnnConvolutionBwdFilterAlgoPerf[] found = backwardFilter(count);
        return results(found, n, returned, results, JCudnn.cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle(handle), tensor(x),
                tensor(dy), convolution(convolution), filter(dw), count, n, found));
    }

    static int cudnnFindConvolutionForwardAlgorithmEx(long handle, long xDescriptor, long x, long wDescriptor, long w,
            long convolution, long yDescriptor, long y, int count, long returned, long results, long workspace, long workspaceBytes) {
        int[] n = new int[1];
        cudnnConvolutionFwdAlgoPerf[] found = forward(count);
        return results(found, n, returned, results, JCudnn.cudnnFindConvolutionForwardAlgorithmEx(handle(handle), tensor(xDescriptor),
                pointer(x), filter(wDescriptor), pointer(w), convolution(convolution), tensor(yDescriptor), pointer(y), count, n, found,
                pointer(workspace), workspaceBytes));
    }

    static int cudnnFindConvolutionBackwardDataAlgorithmEx(long handle, long wDescriptor, long w, long dyDescriptor, long dy,
            long convolution, long dxDescriptor, long dx, int count, long returned, long results, long workspace, long workspaceBytes) {
        int[] n = new int[1];
        cudnnConvolutionBwdDataAlgoPerf[] found = backwardData(count);
        return results(found, n, returned, results, JCudnn.cudnnFindConvolutionBackwardDataAlgorithmEx(handle(handle),
                filter(wDescriptor), pointer(w), tensor(dyDescriptor), pointer(dy), convolution(convolution), tensor(dxDescriptor),
                pointer(dx), count, n, found, pointer(workspace), workspaceBytes));
    }

    static int cudnnFindConvolutionBackwardFilterAlgorithmEx(long handle, long xDescriptor, long x, long dyDescriptor, long dy,
            long convolution, long dwDescriptor, long dw, int count, long returned, long results, long workspace, long workspaceBytes) {
        int[] n = new int[1];
        cudnnConvolutionBwdFilterAlgoPerf[] found = backwardFilter(count);
        return results(found, n, returned, results, JCudnn.cudnnFindConvolutionBackwardFilterAlgorithmEx(handle(handle),
                tensor(xDescriptor), pointer(x), tensor(dyDescriptor), pointer(dy), convolution(convolution), filter(dwDescriptor),
                pointer(dw), count, n, found, pointer(workspace), workspaceBytes));
    }

    static int cudnnGetConvolutionForwardWorkspaceSize(long handle, long x, long w, long convolution, long y, int algo, long result) {
        long[] bytes = new long[1];
        return store(result, bytes, JCudnn.cudnnGetConvolutionForwardWorkspaceSize(handle(handle), tensor(x), filter(w),
                convolution(convolution), tensor(y), algo, bytes));
    }

    static int cudnnGetConvolutionBackwardDataWorkspaceSize(long handle, long w, long dy, long convolution, long dx, int algo,
            long result) {
        long[] bytes = new long[1];
        return store(result, bytes, JCudnn.cudnnGetConvolutionBackwardDataWorkspaceSize(handle(handle), filter(w), tensor(dy),
                convolution(convolution), tensor(dx), algo, bytes));
    }

    static int cudnnGetConvolutionBackwardFilterWorkspaceSize(long handle, long x, long dy, long convolution, long dw, int algo,
            long result) {
        long[] bytes = new long[1];
        return store(result, bytes, JCudnn.cudnnGetConvolutionBackwardFilterWorkspaceSize(handle(handle), tensor(x), tensor(dy),
                convolution(convolution), filter(dw), algo, bytes));
    }
}
