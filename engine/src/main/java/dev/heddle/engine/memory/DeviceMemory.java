// What the engine needs of a device's memory; its addresses are opaque to everybody but the device's kernels.
package dev.heddle.engine.memory;

import java.lang.foreign.MemorySegment;

/**
 * Allocation and copies. Work on a device is ordered: a copy sees what was launched before it, and what is launched after it
 * sees the copy. All methods may be called from any thread.
 */
public interface DeviceMemory {
    /** The CPU's memory: addresses are those of the process. */
    DeviceMemory CPU = new HostMemory();

    /**
     * A block of at least {@code bytes} bytes, at least 64-byte aligned, its contents undefined.
     *
     * @throws dev.heddle.engine.DeviceOutOfMemoryException if there is none
     */
    long allocate(long bytes);

    /** Gives back a block; {@code bytes} is the size it was asked for with. */
    void free(long address, long bytes);

    /** Copies host memory to the device; the source may be overwritten when this returns. */
    void upload(MemorySegment source, long address);

    /** Copies from the device to host memory, and returns when that is done. */
    void download(long address, MemorySegment target);

    /** Copies between two blocks of the device. */
    void copy(long source, long target, long bytes);

    /** Writes 8-byte words; the array may be overwritten when this returns. */
    void write(long[] words, long address);

    /**
     * How much memory is in use; in bytes.
     *
     * @param inUse asked for and not given back
     * @param peak the most that was in use at once
     * @param reserved taken from the system or the driver: in use, lost to rounding, or cached
     * @param allocations how often memory was taken from there
     */
    record Statistics(long inUse, long peak, long reserved, long allocations) {}

    /** How much is in use now. */
    Statistics statistics();

    /** For messages: {@code cpu}, {@code cuda:0}. */
    String name();
}
