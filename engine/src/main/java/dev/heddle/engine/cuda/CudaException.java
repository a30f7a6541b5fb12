// The error of every CUDA library: which call failed, with which status, on which device, in the middle of what.
package dev.heddle.engine.cuda;

/**
 * A call of the CUDA driver, NVRTC, cuBLASLt or cuDNN that failed, or a library or function that is not there. Running out
 * of device memory is status {@link #OUT_OF_MEMORY} of {@code cuMemAlloc_v2}.
 */
public final class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** {@link #status()} of an error that is not the result of a call. */
    public static final int NO_STATUS = -1;
    /** The driver's {@code CUDA_ERROR_OUT_OF_MEMORY}. */
    public static final int OUT_OF_MEMORY = 2;

    /** The function's name, or null. */
    private final String call;
    private final int status;
    private final String statusName;
    /** The index of the device, or -1. */
    private final int device;
    private final String operation;
    private final String description;

    /** What is wrong where no call was made: a library that is not there, for instance. */
    public CudaException(String message) {
        this(null, NO_STATUS, null, -1, null, message, null);
    }

    /**
     * @param call the C function's name
     * @param status what it returned
     * @param statusName the status's name, such as {@code CUDA_ERROR_INVALID_VALUE}
     * @param statusText what the library says about it
     * @param device the index of the device that was current, or -1 if none was
     */
    public CudaException(String call, int status, String statusName, String statusText, int device) {
        this(call, status, statusName, device, null,
                call + ": " + statusName + " (" + status + ")" + (statusText.isEmpty() ? "" : ": " + statusText), null);
    }

    private CudaException(String call, int status, String statusName, int device, String operation, String description,
            CudaException cause) {
        super((device < 0 ? "" : "cuda:" + device + ": ") + (operation == null ? "" : operation + ": ") + description, cause);
        this.call = call;
        this.status = status;
        this.statusName = statusName;
        this.device = device;
        this.operation = operation;
        this.description = description;
    }

    /** The same error, saying in which kernel or operation it happened; an error that says so already is returned itself. */
    public CudaException in(String kernelOrOperation) {
        return operation != null ? this
                : new CudaException(call, status, statusName, device, kernelOrOperation, description, this);
    }

    /** The C function that failed, or null if none was called. */
    public String call() {
        return call;
    }

    /** What the function returned, in its library's own numbering, or {@link #NO_STATUS}. */
    public int status() {
        return status;
    }

    /** The status's name, or null if no function was called. */
    public String statusName() {
        return statusName;
    }

    /** The index of the device that was current on the calling thread, or -1 if none was. */
    public int device() {
        return device;
    }

    /** The kernel or operation during which it happened, or null if that is not known. */
    public String operation() {
        return operation;
    }
}
