// A piece of device memory that belongs to a tensor or a variable, and goes back to the pool when nobody can read it.
package dev.heddle.engine.memory;

import dev.heddle.engine.DeviceOutOfMemoryException;
import java.lang.ref.PhantomReference;
import java.lang.ref.ReferenceQueue;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Owned memory. {@link #close()} returns it at once; otherwise it returns after the garbage collector has found the
 * buffer unreachable, at the next allocation.
 */
public final class Buffer implements AutoCloseable {
    private static final ReferenceQueue<Buffer> QUEUE = new ReferenceQueue<>();
    private static final Set<Release> LIVE = ConcurrentHashMap.newKeySet();
    private static final int OWNERS_LISTED = 12;
    private static final AtomicLong TENSOR_BYTES = new AtomicLong();

    private final DeviceMemory memory;
    private final long address;
    private final long bytes;
    private final Release release;
    private long version;

    private Buffer(DeviceMemory memory, long address, long bytes, Object owner, Runnable giveBack) {
        this.memory = memory;
        this.address = address;
        this.bytes = bytes;
        this.release = new Release(this, owner, giveBack);
        LIVE.add(release);
        TENSOR_BYTES.addAndGet(bytes);
    }

    /**
     * Allocates uninitialised memory, 64-byte aligned.
     *
     * @param owner what it is for: its text appears in the message when memory runs out
     * @throws DeviceOutOfMemoryException if there is none, after what can be returned has been; it lists the largest owners
     */
    public static Buffer allocate(DeviceMemory memory, long bytes, Object owner) {
        long address = take(memory, bytes, owner);
        return new Buffer(memory, address, bytes, owner, () -> memory.free(address, bytes));
    }

    private static long take(DeviceMemory memory, long bytes, Object owner) {
        drain();
        try {
            return memory.allocate(bytes);
        } catch (DeviceOutOfMemoryException first) {
            System.gc(); // unreachable buffers are only found by a collection
            drain();
            try {
                return memory.allocate(bytes);
            } catch (DeviceOutOfMemoryException second) {
                throw new DeviceOutOfMemoryException(owner + ": " + second.getMessage() + usage(memory));
            }
        }
    }

    /**
     * Memory of somebody else, at least 64-byte aligned.
     *
     * @param giveBack called once, on any thread, instead of returning it to the pool
     */
    public static Buffer borrow(DeviceMemory memory, long address, long bytes, Object owner, Runnable giveBack) {
        return new Buffer(memory, address, bytes, owner, giveBack);
    }

    /** Bytes in use by owner, the largest first. */
    public static String usage(DeviceMemory memory) {
        Map<String, long[]> owners = new TreeMap<>(); // bytes, count
        for (Release release : LIVE) {
            if (release.memory == memory) {
                long[] sums = owners.computeIfAbsent(release.owner.toString(), none -> new long[2]);
                sums[0] += release.bytes;
                sums[1]++;
            }
        }
        StringBuilder text = new StringBuilder("; in use on ").append(memory.name()).append(':');
        owners.entrySet().stream().sorted(Map.Entry.comparingByValue((a, b) -> Long.compare(b[0], a[0]))).limit(OWNERS_LISTED)
                .forEach(e -> text.append(String.format("%n  %,d bytes: %s (%d)", e.getValue()[0], e.getKey(), e.getValue()[1])));
        return owners.isEmpty() ? text + " nothing" : text.toString();
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

    /** Where it is. */
    public DeviceMemory memory() {
        return memory;
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
        private final DeviceMemory memory;
        private final long bytes;
        private final Object owner;
        private final Runnable giveBack;
        private volatile boolean done;
        private boolean ofPlan;

        Release(Buffer buffer, Object owner, Runnable giveBack) {
            super(buffer, QUEUE);
            this.memory = buffer.memory;
            this.owner = owner;
            this.bytes = buffer.bytes;
            this.giveBack = giveBack;
        }

        void run() {
            if (LIVE.remove(this)) {
                done = true;
                if (!ofPlan) {
                    TENSOR_BYTES.addAndGet(-bytes);
                }
                giveBack.run();
            }
        }
    }
}
