// A piece of device memory that belongs to a tensor or a variable, and goes back to the pool when nobody can read it.
package dev.heddle.engine.memory;

import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Owned memory. {@link #close()} returns it at once; otherwise it returns after the garbage collector has found the
 * buffer unreachable, at the next allocation.
 */
public final class Buffer implements AutoCloseable {
    private static final ReferenceQueue<Buffer> QUEUE = new ReferenceQueue<>();
    private static final Set<Release> LIVE = ConcurrentHashMap.newKeySet();

    private static final AtomicLong TENSOR_BYTES = new AtomicLong();

    private final long address;
    private final long bytes;
    private final Release release;
    private long version;

    private Buffer(long address, long bytes) {
        this.address = address;
        this.bytes = bytes;
        this.release = new Release(this);
        LIVE.add(release);
        TENSOR_BYTES.addAndGet(bytes);
    }

    /**
     * Allocates uninitialised memory, 64-byte aligned.
     *
     * @throws dev.heddle.engine.DeviceOutOfMemoryException if there is none, after what can be returned has been
     */
    public static Buffer allocate(long bytes, String owner) {
        drain();
        long address;
        try {
            address = NativeMemory.allocate(bytes);
        } catch (dev.heddle.engine.DeviceOutOfMemoryException first) {
            System.gc(); // unreachable buffers are only found by a collection
            drain();
            try {
                address = NativeMemory.allocate(bytes);
            } catch (dev.heddle.engine.DeviceOutOfMemoryException second) {
                throw new dev.heddle.engine.DeviceOutOfMemoryException(owner + ": " + second.getMessage());
            }
        }
        return new Buffer(address, bytes);
    }

    /** Bytes of all tensors and variables that are alive; what plans keep for themselves is not counted. */
    public static long tensorBytes() {
        return TENSOR_BYTES.get();
    }

    /** Makes this the memory of a plan: it no longer counts as a tensor's. */
    public Buffer ofPlan() {
        if (!release.ofPlan) {
            release.ofPlan = true;
            TENSOR_BYTES.addAndGet(-bytes);
        }
        return this;
    }

    /** Returns the memory of unreachable buffers to the pool. */
    public static void drain() {
        for (Object reference; (reference = QUEUE.poll()) != null;) {
            ((Release) reference).run();
        }
    }

    /** Address of the first byte. */
    public long address() {
        if (release.done) {
            throw new IllegalStateException("tensor: its memory was returned by close()");
        }
        return address;
    }

    /** Size in bytes. */
    public long bytes() {
        return bytes;
    }

    /** How often the contents have been overwritten since allocation. */
    public long version() {
        return version;
    }

    /** Notes that the contents have been overwritten. */
    public void overwritten() {
        version++;
    }

    /** Whether the memory has been returned. */
    public boolean closed() {
        return release.done;
    }

    /** Returns the memory to the pool; doing so again does nothing. */
    @Override
    public void close() {
        release.run();
    }

    private static final class Release extends PhantomReference<Buffer> {
        private final long address;
        private final long bytes;
        private volatile boolean done;
        private boolean ofPlan;

        Release(Buffer buffer) {
            super(buffer, QUEUE);
            this.address = buffer.address;
            this.bytes = buffer.bytes;
        }

        void run() {
            if (LIVE.remove(this)) {
                done = true;
                NativeMemory.free(address, bytes);
                if (!ofPlan) {
                    TENSOR_BYTES.addAndGet(-bytes);
                }
            }
        }
    }
}
