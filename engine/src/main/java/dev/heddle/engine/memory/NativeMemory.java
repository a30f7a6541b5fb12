// Off-heap memory of the CPU backend. Arenas of the JDK zero, synchronise or wait for the collector, up to milliseconds a
// tensor; this hands a cached block out again in well under a microsecond.
package dev.heddle.engine.memory;

import dev.heddle.engine.DeviceOutOfMemoryException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Caching allocator, thread-safe. Sizes are rounded up to classes, eight to a power of two, so at most an eighth of a
 * block is lost (or 63 bytes of a small one). Blocks of up to 4 KiB are carved out of 1 MiB slabs, larger ones come from
 * the system one by one; both are kept for reuse when freed, until {@link #trim()}, which also happens by itself before
 * more than twice the peak in use (plus 64 MiB) is taken from the system. Contents are undefined.
 */
public final class NativeMemory {
    /** Every block begins at a multiple of this many bytes: a cache line, and the widest vector. */
    public static final int ALIGNMENT = 64;

    private static final long LARGEST_SMALL = 4 << 10;
    private static final long SLAB = 1 << 20;
    private static final long HUGE_PAGE = 2 << 20;
    private static final long SLACK = 64 << 20;
    private static final int STEPS = 8;

    private static final Stack[] CACHED = new Stack[64 * STEPS];
    private static final List<Long> SLABS = new ArrayList<>();
    private static long slab;
    private static long slabUsed = SLAB;

    private static long bytesInUse;
    private static long peakBytesInUse;
    private static long bytesReserved;
    private static long nativeAllocations;
    private static long nativeFrees;

    private NativeMemory() {
    }

    /**
     * A block of at least {@code bytes} bytes, 64-byte aligned; 0 bytes get a block too.
     *
     * @throws DeviceOutOfMemoryException if the system refuses, or {@code -Dheddle.cpu.memoryLimit} (bytes taken from the
     *     system at most) would be exceeded, even after {@link #trim()}
     */
    public static synchronized long allocate(long bytes) {
        int sizeClass = sizeClass(bytes);
        Stack cached = CACHED[sizeClass];
        boolean small = bytes <= LARGEST_SMALL;
        long address;
        if (cached != null && cached.size > 0) {
            address = cached.pop();
        } else if (small) {
            address = carve((int) classBytes(sizeClass));
        } else {
            address = reserve(classBytes(sizeClass), bytes);
        }
        if (small) {
            countInSlab(address, 1);
        }
        bytesInUse += bytes;
        peakBytesInUse = Math.max(peakBytesInUse, bytesInUse);
        return address;
    }

    /** Gives back a block; {@code bytes} is the size it was asked for with. */
    public static synchronized void free(long address, long bytes) {
        int sizeClass = sizeClass(bytes);
        if (CACHED[sizeClass] == null) {
            CACHED[sizeClass] = new Stack();
        }
        CACHED[sizeClass].push(address);
        if (bytes <= LARGEST_SMALL) {
            countInSlab(address, -1);
        }
        bytesInUse -= bytes;
    }

    /** Returns cached blocks to the system, and the slabs of which no block is in use. */
    public static synchronized void trim() {
        for (int sizeClass = 0; sizeClass < CACHED.length; sizeClass++) {
            Stack cached = CACHED[sizeClass];
            if (cached == null) {
                continue;
            }
            long bytes = classBytes(sizeClass);
            if (bytes <= LARGEST_SMALL) {
                cached.removeIfSlabUnused();
            } else {
                while (cached.size > 0) {
                    release(cached.pop(), bytes);
                }
            }
        }
        SLABS.removeIf(address -> {
            boolean unused = Memory.getInt(address) == 0;
            if (unused) {
                if (address == slab) {
                    slabUsed = SLAB; // the next small block opens another
                }
                release(address, SLAB);
            }
            return unused;
        });
        SystemMemory.trim();
    }

    /** Bytes that were asked for and not freed yet. */
    public static synchronized long bytesInUse() {
        return bytesInUse;
    }

    /** The largest {@link #bytesInUse()} so far. */
    public static synchronized long peakBytesInUse() {
        return peakBytesInUse;
    }

    /** Bytes taken from the system and not returned: what is in use, lost to rounding, or cached. */
    public static synchronized long bytesReserved() {
        return bytesReserved;
    }

    /** How many times memory was taken from the system. */
    public static synchronized long nativeAllocations() {
        return nativeAllocations;
    }

    /** How many times memory was returned to the system. */
    public static synchronized long nativeFrees() {
        return nativeFrees;
    }

    /** Index of the smallest class that holds {@code bytes}: 64, 128, ... 512, then eight steps to each power of two. */
    private static int sizeClass(long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException("native memory: a block of " + bytes + " bytes");
        }
        long last = Math.max(bytes, 1) - 1;
        int octave = Math.max(0, 55 - Long.numberOfLeadingZeros(last)); // 0 up to 512, 1 up to 1024, ...
        return octave == 0 ? (int) (last >> 6) : octave * STEPS + (int) (last >> (octave + 5)) - STEPS;
    }

    private static long classBytes(int sizeClass) {
        int octave = sizeClass / STEPS;
        int step = sizeClass % STEPS + 1;
        return octave == 0 ? (long) step << 6 : (long) (STEPS + step) << (octave + 5);
    }

    private static long carve(int bytes) {
        if (slabUsed + bytes > SLAB) {
            slab = reserve(SLAB, bytes);
            slabUsed = ALIGNMENT; // the first line of a slab counts the blocks in use
            Memory.putInt(slab, 0);
            SLABS.add(slab);
        }
        long address = slab + slabUsed;
        slabUsed += bytes;
        return address;
    }

    private static void countInSlab(long address, int change) {
        long start = address & -SLAB;
        Memory.putInt(start, Memory.getInt(start) + change);
    }

    private static long reserve(long bytes, long asked) {
        if (bytesReserved + bytes > 2 * Math.max(peakBytesInUse, bytesInUse + asked) + SLACK) {
            trim(); // sizes change from step to step, and nothing cached fits
        }
        long address = tryReserve(bytes);
        if (address == 0) {
            trim();
            address = tryReserve(bytes);
        }
        if (address == 0) {
            throw new DeviceOutOfMemoryException("cpu: no memory for " + asked + " bytes; in use " + bytesInUse
                    + ", taken from the system " + bytesReserved + ", limit " + limit());
        }
        bytesReserved += bytes;
        nativeAllocations++;
        return address;
    }

    private static long tryReserve(long bytes) {
        if (bytes > limit() - bytesReserved) {
            return 0;
        }
        long alignment = bytes == SLAB ? SLAB : bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
        long address = SystemMemory.allocate(bytes, alignment);
        if (address != 0 && bytes >= HUGE_PAGE) {
            SystemMemory.adviseHugePages(address, bytes & -HUGE_PAGE);
        }
        return address;
    }

    private static void release(long address, long bytes) {
        SystemMemory.free(address);
        bytesReserved -= bytes;
        nativeFrees++;
    }

    private static long limit() {
        return Long.getLong("heddle.cpu.memoryLimit", Long.MAX_VALUE);
    }

    /** The free blocks of one class, the last freed on top because it is most likely still in a cache. */
    private static final class Stack {
        private long[] addresses = new long[16];
        private int size;

        void push(long address) {
            if (size == addresses.length) {
                addresses = Arrays.copyOf(addresses, 2 * size);
            }
            addresses[size++] = address;
        }

        long pop() {
            return addresses[--size];
        }

        void removeIfSlabUnused() {
            int kept = 0;
            for (int i = 0; i < size; i++) {
                if (Memory.getInt(addresses[i] & -SLAB) != 0) {
                    addresses[kept++] = addresses[i];
                }
            }
            size = kept;
        }
    }
}
