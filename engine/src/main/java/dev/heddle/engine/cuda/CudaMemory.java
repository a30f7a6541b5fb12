// Device memory: a caching pool, because cuMemAlloc synchronises the device; pinned staging, because copies from ordinary
// memory do not overlap with kernels.
package dev.heddle.engine.cuda;

import dev.heddle.engine.DeviceOutOfMemoryException;
import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.memory.Memory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.TreeMap;

/**
 * Blocks of size classes, eight to a power of two, 512 bytes at least; freed blocks are kept until memory runs short. A freed
 * block may still be read by kernels that were launched before; that is safe for whatever is launched on the compute
 * stream next, and an upload, on the other stream, waits for them: every block remembers the last event recorded before it was freed.
 */
final class CudaMemory implements DeviceMemory {
    /**
     * No pool: every tensor and every value of a plan is a cuMemAlloc of its own, exactly as large as it is, and starts as NaN, so that
     * compute-sanitizer sees accesses outside of it ({@code -Dheddle.cuda.guard=true}). Slow.
     */
    static final boolean GUARD = Boolean.getBoolean("heddle.cuda.guard");
    private static final long SMALLEST = 512;
    private static final int STEPS = 8;
    private static final int EVENTS = 64;
    private static final long STAGING = 4 << 20;
    private static final long SCALAR_STAGING = 64 << 10;

    /** Puts work on the compute stream, not into a graph that another thread captures there. */
    private void onStream(Runnable work) {
        device.enter();
        device.capturing.lock();
        try {
            work.run();
        } finally {
            device.capturing.unlock();
        }
    }

    private record Block(long address, long fence) {}

    private final CudaDevice device;
    private final TreeMap<Long, ArrayDeque<Block>> cached = new TreeMap<>(); // by size
    private final long[] events = new long[EVENTS]; // ring, recorded on the compute stream
    private long fence; // number of events recorded
    private long bytesInUse;
    private long peakBytesInUse;
    private long bytesReserved;
    private long allocations; // calls of cuMemAlloc

    private final long[] staging = new long[2]; // pinned, used in turn by uploads
    private final long[] stagingEvents = new long[2];
    private int nextStaging;
    private final long words; // pinned ring for write()
    private long wordsUsed;
    private final long wordsEvent;
    private final long indexError; // two words, see index.cu
    private final long indexErrorCopy; // pinned

    CudaMemory(CudaDevice device) {
        this.device = device;
        for (int i = 0; i < EVENTS; i++) {
            events[i] = Driver.eventCreate(Driver.CU_EVENT_DISABLE_TIMING);
        }
        for (int i = 0; i < staging.length; i++) {
            staging[i] = Driver.memAllocHost(STAGING);
            stagingEvents[i] = Driver.eventCreate(Driver.CU_EVENT_DISABLE_TIMING);
        }
        words = Driver.memAllocHost(SCALAR_STAGING);
        wordsEvent = Driver.eventCreate(Driver.CU_EVENT_DISABLE_TIMING);
        indexError = Driver.memAlloc(classBytes(16));
        indexErrorCopy = Driver.memAllocHost(16);
        Driver.memsetD32Async(indexError, 0, 4, device.stream);
    }

    @Override
    public synchronized long allocate(long bytes) {
        device.enter();
        long size = classBytes(bytes);
        ArrayDeque<Block> blocks = cached.get(size);
        long address = blocks != null && !blocks.isEmpty() ? take(blocks.pop()) : reserve(size, bytes);
        if (GUARD) {
            onStream(() -> Driver.memsetD8Async(address, (byte) -1, size, device.stream));
            Driver.streamSynchronize(device.stream); // an upload may be next
        }
        bytesInUse += size;
        peakBytesInUse = Math.max(peakBytesInUse, bytesInUse);
        return address;
    }

    /** Whoever is given a block may upload to it: what used it before must have run by then. */
    private long take(Block block) {
        if (fence - block.fence < EVENTS) {
            Driver.streamWaitEvent(device.copyStream, events[(int) (block.fence % EVENTS)]);
        } else {
            Driver.streamWaitEvent(device.copyStream, events[(int) ((fence + 1) % EVENTS)]); // a later one: waits for more
        }
        return block.address;
    }

    private long reserve(long size, long asked) {
        long address = tryReserve(size);
        if (address == 0) {
            trim();
            address = tryReserve(size);
        }
        if (address == 0) {
            throw new DeviceOutOfMemoryException(name() + ": no memory for " + asked + " bytes; in use " + bytesInUse
                    + ", taken from the driver " + bytesReserved + ", free on the device " + Driver.memInfo().free());
        }
        bytesReserved += size;
        allocations++;
        return address;
    }

    private static long tryReserve(long size) {
        try {
            return Driver.memAlloc(size);
        } catch (CudaException e) {
            if (e.status() == Driver.CUDA_ERROR_OUT_OF_MEMORY) {
                return 0;
            }
            throw e;
        }
    }

    @Override
    public synchronized void free(long address, long bytes) {
        long size = classBytes(bytes);
        cached.computeIfAbsent(size, none -> new ArrayDeque<>()).push(new Block(address, fence));
        bytesInUse -= size;
        if (GUARD) {
            onStream(() -> Driver.streamSynchronize(device.stream));
            trim();
        }
    }

    /** Gives cached blocks back to the driver. */
    synchronized void trim() {
        device.enter();
        cached.forEach((size, blocks) -> {
            for (Block block : blocks) {
                Driver.memFree(block.address);
                bytesReserved -= size;
            }
        });
        cached.clear();
    }

    private static long classBytes(long bytes) {
        if (GUARD) {
            return Math.max(1, bytes);
        }
        long least = Math.max(bytes, SMALLEST);
        long step = Math.max(1, Long.highestOneBit(least - 1 | 1) / STEPS);
        long unit = Math.max(step, SMALLEST);
        return (least + unit - 1) / unit * unit;
    }

    /** Notes that everything launched so far comes before this; called when a plan and its copies have been launched. */
    synchronized void fence() {
        fence++;
        onStream(() -> Driver.eventRecord(events[(int) (fence % EVENTS)], device.stream));
    }

    /** Waits until what was launched before the last fence has run. */
    void awaitFence() {
        device.enter();
        long event;
        synchronized (this) {
            event = events[(int) (fence % EVENTS)];
        }
        Driver.eventSynchronize(event);
    }

    @Override
    public void upload(MemorySegment source, long address) {
        long bytes = source.byteSize();
        synchronized (staging) {
            device.enter();
            for (long done = 0; done < bytes; done += STAGING) {
                long part = Math.min(STAGING, bytes - done);
                int slot = nextStaging;
                nextStaging = 1 - nextStaging;
                Driver.eventSynchronize(stagingEvents[slot]); // its last copy has left the buffer
                MemorySegment.copy(source, done, Memory.ALL, staging[slot], part);
                Driver.memcpyHtoDAsync(address + done, staging[slot], part, device.copyStream);
                Driver.eventRecord(stagingEvents[slot], device.copyStream);
            }
            if (bytes > 0) { // what is launched from now on sees the copy
                onStream(() -> Driver.streamWaitEvent(device.stream, stagingEvents[1 - nextStaging]));
            }
        }
    }

    /** Where kernels report an index out of range. */
    long indexError() {
        return indexError;
    }

    /** Waits for everything launched; throws if a kernel met an index out of range. */
    void synchronize() {
        onStream(() -> {
            Driver.memcpyDtoHAsync(indexErrorCopy, indexError, 16, device.stream);
            Driver.streamSynchronize(device.stream);
        });
        if (Memory.getLong(indexErrorCopy) != 0) {
            Driver.memsetD32Async(indexError, 0, 4, device.stream);
            throw new IndexOutOfBoundsException(name() + ": gather or scatter: index " + Memory.getLong(indexErrorCopy + 8)
                    + " is out of range; -Dheddle.eager=true says in which operation");
        }
    }

    @Override
    public void download(long address, MemorySegment target) {
        device.enter();
        long bytes = target.byteSize();
        if (bytes == 0) {
            return;
        }
        if (target.isNative()) {
            onStream(() -> Driver.memcpyDtoHAsync(target.address(), address, bytes, device.stream));
            synchronize();
            return;
        }
        synchronize();
        synchronized (staging) {
            for (int slot = 0; slot < staging.length; slot++) {
                Driver.eventSynchronize(stagingEvents[slot]);
            }
            for (long done = 0; done < bytes; done += STAGING) {
                long part = Math.min(STAGING, bytes - done);
                long from = address + done;
                onStream(() -> {
                    Driver.memcpyDtoHAsync(staging[0], from, part, device.stream);
                    Driver.streamSynchronize(device.stream);
                });
                MemorySegment.copy(Memory.ALL, staging[0], target, done, part);
            }
        }
    }

    @Override
    public void copy(long source, long target, long bytes) {
        device.enter();
        if (bytes > 0) {
            onStream(() -> Driver.memcpyDtoDAsync(target, source, bytes, device.stream));
        }
    }

    @Override
    public void write(long[] values, long address) {
        device.enter();
        long bytes = 8L * values.length;
        if (bytes > SCALAR_STAGING) {
            throw new IllegalArgumentException("cuda: a plan with " + values.length + " numbers");
        }
        if (wordsUsed + bytes > SCALAR_STAGING) { // once around: the copies of the last round have long been made
            Driver.eventRecord(wordsEvent, device.stream);
            Driver.eventSynchronize(wordsEvent);
            wordsUsed = 0;
        }
        MemorySegment.copy(MemorySegment.ofArray(values), 0, Memory.ALL, words + wordsUsed, bytes);
        Driver.memcpyHtoDAsync(address, words + wordsUsed, bytes, device.stream);
        wordsUsed += bytes;
    }

    @Override
    public String name() {
        return device.device.toString();
    }

    @Override
    public synchronized Statistics statistics() {
        return new Statistics(bytesInUse, peakBytesInUse, bytesReserved, allocations);
    }
}
