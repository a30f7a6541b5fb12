// JCuda code and the engine on the same memory. The stand-in runs what is on a stream only when somebody waits for it, so that
// a missing wait shows.
package dev.heddle.jcuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Shape;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.cuda.CudaException;
import dev.heddle.engine.cuda.CudaInterop;
import dev.heddle.engine.memory.Buffer;
import dev.heddle.testing.NoLeaks;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicInteger;
import jcuda.Pointer;
import jcuda.Sizeof;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

@NoLeaks
class JCudaInteropTest {
    private static final int N = 1000;

    private static Device device;
    private CUstream mine;

    @BeforeAll
    static void needsTheDevice() {
        String reason = CudaBackend.unavailable(0);
        Assumptions.assumeTrue(reason == null, "cuda: " + reason);
        device = Device.current();
        CudaInterop.makeCurrent(device);
    }

    @BeforeEach
    void createStream() {
        JCudaDriver.setExceptionsEnabled(true);
        mine = new CUstream();
        JCudaDriver.cuStreamCreate(mine, CUstream_flags.CU_STREAM_NON_BLOCKING);
    }

    @AfterEach
    void destroyStream() {
        JCudaDriver.cuStreamDestroy(mine);
        JCudaDriver.setExceptionsEnabled(false);
    }

    private static CUdeviceptr allocate() {
        CUdeviceptr memory = new CUdeviceptr();
        JCudaDriver.cuMemAlloc(memory, N * Sizeof.FLOAT);
        return memory;
    }

    private static void fill(CUdeviceptr memory, float value, CUstream stream) {
        JCudaDriver.cuMemsetD32Async(memory, Float.floatToRawIntBits(value), N, stream);
    }

    private float[] read(Pointer memory, int count) {
        ByteBuffer host = ByteBuffer.allocateDirect(count * Sizeof.FLOAT).order(ByteOrder.nativeOrder());
        JCudaDriver.cuMemcpyDtoHAsync(Pointer.to(host), (CUdeviceptr) memory, host.capacity(), mine);
        JCudaDriver.cuStreamSynchronize(mine);
        float[] values = new float[count];
        host.asFloatBuffer().get(values);
        return values;
    }

    private static float[] all(float value) {
        float[] values = new float[N];
        java.util.Arrays.fill(values, value);
        return values;
    }

    @Test
    void jcudaReadsATensor() {
        CUdeviceptr pointer = JCudaInterop.pointer(Tensor.arange(N).to(DType.F32).mul(2));
        JCudaInterop.waitForEngine(device, mine);
        float[] values = read(pointer, N);
        assertEquals(2 * 7, values[7]);
        assertEquals(2 * 7, read(pointer.withByteOffset(7 * Sizeof.FLOAT), 1)[0]);
        assertEquals(Handles.address(pointer) + 28, Handles.address(pointer.withByteOffset(28)));
    }

    @Test
    void aPointerKeepsItsTensor() throws InterruptedException {
        CUdeviceptr start = JCudaInterop.pointer(Tensor.full(3, DType.F32, N).add(1).eval());
        CUdeviceptr inside = start.withByteOffset(4);
        start = null;
        for (int i = 0; i < 5; i++) {
            System.gc();
            Thread.sleep(5); // the collector enqueues references on a thread of its own
            Buffer.drain();
            Tensor.zeros(N).add(9).eval().close(); // would be given the same memory
        }
        JCudaInterop.waitForEngine(device, mine);
        assertEquals(4, read(inside, 1)[0]);
    }

    @Test
    void workOnTheEnginesStreamIsInOrder() {
        CUdeviceptr memory = allocate();
        Tensor x = JCudaInterop.borrow(device, memory, DType.F32, Shape.of(N), () -> JCudaDriver.cuMemFree(memory));
        for (int i = 0; i < 4; i++) { // from the second on the engine replays a graph
            float value = i;
            JCudaInterop.run(device, stream -> fill(memory, value, stream));
            assertArrayEquals(all(i + 1), x.add(1).toFloatArray());
        }
        x.close();
    }

    @Test
    void aCopyIsMadeInOrderWithItsStream() {
        CUdeviceptr memory = allocate();
        fill(memory, 5, mine);
        Tensor x = JCudaInterop.copyOf(device, memory, DType.F32, Shape.of(N), mine);
        fill(memory, 6, mine); // after the copy
        assertArrayEquals(all(10), x.mul(2).toFloatArray());
        assertArrayEquals(all(6), read(memory, N));
        JCudaDriver.cuMemFree(memory);
        x.close();
    }

    @Test
    void theEngineWaitsForAStream() {
        CUdeviceptr memory = allocate();
        fill(memory, 7, mine);
        JCudaInterop.waitFor(device, mine);
        try (Tensor x = JCudaInterop.borrow(device, memory, DType.F32, Shape.of(N), () -> JCudaDriver.cuMemFree(memory))) {
            assertArrayEquals(all(8), x.add(1).toFloatArray());
        }
    }

    @Test
    void borrowedMemoryIsGivenBackOnceWhenItWasRead() {
        CUdeviceptr memory = allocate();
        AtomicInteger released = new AtomicInteger();
        JCudaInterop.run(device, stream -> fill(memory, 2, stream));
        Tensor x = JCudaInterop.borrow(device, memory, DType.F32, Shape.of(N), () -> {
            released.incrementAndGet();
            JCudaDriver.cuMemFree(memory); // the stand-in would report a kernel that reads it later
        });
        Tensor y = x.mul(x).eval();
        assertEquals(0, released.get());
        x.close();
        x.close();
        assertEquals(1, released.get());
        assertArrayEquals(all(4), y.toFloatArray());
        assertThrows(IllegalStateException.class, x::toFloatArray);
        y.close();
    }

    @Test
    void unreachableBorrowedMemoryIsGivenBack() throws InterruptedException {
        CUdeviceptr memory = allocate();
        AtomicInteger released = new AtomicInteger();
        borrowAndForget(memory, released);
        for (int i = 0; i < 100 && released.get() == 0; i++) {
            System.gc();
            Thread.sleep(5);
            Buffer.drain();
        }
        assertEquals(1, released.get());
        JCudaDriver.cuMemFree(memory);
    }

    private static void borrowAndForget(CUdeviceptr memory, AtomicInteger released) {
        assertEquals(N, JCudaInterop.borrow(device, memory, DType.F32, Shape.of(N), released::incrementAndGet).elements());
    }

    @Test
    void whatIsNotMemoryOfTheDeviceIsRefused() {
        CUdeviceptr memory = allocate();
        Shape shape = Shape.of(N - 1);
        String message = assertThrows(IllegalArgumentException.class, () -> JCudaInterop.borrow(device, memory.withByteOffset(4),
                DType.F32, shape, () -> { })).getMessage();
        assertTrue(message.contains("is not a multiple of 64"), message);
        JCudaInterop.copyOf(device, memory.withByteOffset(4), DType.F32, shape, mine).close();
        Pointer host = Pointer.to(new float[N]);
        assertThrows(IllegalArgumentException.class, () -> JCudaInterop.copyOf(device, host, DType.F32, shape, mine));
        Tensor onCpu = Tensor.ones(3).to(Device.cpu());
        assertThrows(IllegalArgumentException.class, () -> JCudaInterop.pointer(onCpu));
        assertThrows(IllegalArgumentException.class, () -> JCudaInterop.stream(Device.cpu()));
        JCudaDriver.cuStreamSynchronize(mine);
        JCudaDriver.cuMemFree(memory);
    }

    @Test
    void anotherContextIsLeftByMakeCurrent() {
        CUcontext context = new CUcontext();
        JCudaDriver.cuCtxGetCurrent(context);
        assertEquals(JCudaInterop.context(device), context);
        JCudaDriver.cuCtxSetCurrent(new CUcontext()); // none
        assertThrows(CudaException.class, () -> CudaInterop.run(device, _ -> { }));
        CudaInterop.makeCurrent(device);
        CudaInterop.run(device, stream -> assertEquals(Handles.get(JCudaInterop.stream(device)), stream));
    }
}
