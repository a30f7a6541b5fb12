// The allocator is under everything: blocks must not overlap, must come back on reuse, and its counters must add up.
package dev.heddle.engine.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DeviceOutOfMemoryException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class NativeMemoryTest {
    private record Block(long address, long bytes) {
    }

    @Test
    void blocksAreAlignedAndDoNotOverlap() {
        var random = new Random(1);
        var blocks = new ArrayList<Block>();
        for (int i = 0; i < 3000; i++) {
            long bytes = 1L << random.nextInt(i < 2900 ? 13 : 22);
            bytes += random.nextLong(bytes) - random.nextInt(2);
            blocks.add(new Block(NativeMemory.allocate(bytes), bytes));
            if (random.nextInt(3) == 0) {
                Block freed = blocks.remove(random.nextInt(blocks.size()));
                NativeMemory.free(freed.address, freed.bytes);
            }
        }
        blocks.sort(Comparator.comparingLong(Block::address));
        for (int i = 0; i < blocks.size(); i++) {
            Block block = blocks.get(i);
            assertEquals(0, block.address % NativeMemory.ALIGNMENT);
            Memory.fill(block.address, block.bytes, (byte) i);
            if (i > 0) {
                Block before = blocks.get(i - 1);
                assertTrue(before.address + before.bytes <= block.address, before + " " + block);
            }
        }
        for (int i = 0; i < blocks.size(); i++) {
            Block block = blocks.get(i);
            if (block.bytes > 0) {
                assertEquals((byte) i, Memory.getByte(block.address));
                assertEquals((byte) i, Memory.getByte(block.address + block.bytes - 1));
            }
            NativeMemory.free(block.address, block.bytes);
        }
    }

    @Test
    void aFreedBlockIsReusedWithoutAskingTheSystem() {
        for (long bytes : new long[] {0, 1, 64, 4096, 4097, 100_000, 3 << 20}) {
            long first = NativeMemory.allocate(bytes);
            long allocations = NativeMemory.nativeAllocations();
            NativeMemory.free(first, bytes);
            long second = NativeMemory.allocate(bytes);
            assertEquals(first, second);
            assertEquals(allocations, NativeMemory.nativeAllocations());
            NativeMemory.free(second, bytes);
        }
    }

    @Test
    void roundingWastesAnEighthAtMost() {
        for (long bytes = 4097; bytes < 1L << 22; bytes += bytes / 7) {
            NativeMemory.trim();
            long reserved = NativeMemory.bytesReserved();
            long address = NativeMemory.allocate(bytes);
            long block = NativeMemory.bytesReserved() - reserved;
            assertTrue(block >= bytes && block - bytes <= block / 8, bytes + " in a block of " + block);
            NativeMemory.free(address, bytes);
        }
    }

    @Test
    void smallBlocksShareSlabs() {
        NativeMemory.trim();
        long allocations = NativeMemory.nativeAllocations();
        long[] addresses = new long[4000];
        for (int i = 0; i < addresses.length; i++) {
            addresses[i] = NativeMemory.allocate(1 + i % 512); // 288 bytes on average: 1.1 MiB
        }
        assertTrue(NativeMemory.nativeAllocations() - allocations <= 2);
        for (int i = 0; i < addresses.length; i++) {
            NativeMemory.free(addresses[i], 1 + i % 512);
        }
    }

    @Test
    void countersAndTrim() {
        long inUse = NativeMemory.bytesInUse();
        long small = NativeMemory.allocate(1000);
        long big = NativeMemory.allocate(10_000_000);
        assertEquals(inUse + 10_001_000, NativeMemory.bytesInUse());
        assertTrue(NativeMemory.peakBytesInUse() >= inUse + 10_001_000);
        assertTrue(NativeMemory.bytesReserved() >= NativeMemory.bytesInUse());
        long reserved = NativeMemory.bytesReserved();
        NativeMemory.free(big, 10_000_000);
        assertEquals(reserved, NativeMemory.bytesReserved());
        long frees = NativeMemory.nativeFrees();
        NativeMemory.trim();
        assertTrue(NativeMemory.bytesReserved() <= reserved - 10_000_000);
        assertTrue(NativeMemory.nativeFrees() > frees);
        Memory.putLong(small, 42); // its slab is still there
        NativeMemory.free(small, 1000);
        assertEquals(inUse, NativeMemory.bytesInUse());
        NativeMemory.trim();
        long again = NativeMemory.allocate(1000);
        Memory.putLong(again, 42);
        NativeMemory.free(again, 1000);
    }

    @Test
    void beyondTheLimitItTrimsThenThrows() {
        long cached = NativeMemory.allocate(20_000_000);
        NativeMemory.free(cached, 20_000_000);
        System.setProperty("heddle.cpu.memoryLimit", Long.toString(NativeMemory.bytesReserved()));
        try {
            long fits = NativeMemory.allocate(15_000_000); // only once the cached block has gone back
            assertNotEquals(0, fits);
            var refused = assertThrows(DeviceOutOfMemoryException.class, () -> NativeMemory.allocate(1L << 40));
            assertTrue(refused.getMessage().contains("1099511627776"), refused.getMessage());
            NativeMemory.free(fits, 15_000_000);
        } finally {
            System.clearProperty("heddle.cpu.memoryLimit");
        }
        assertThrows(DeviceOutOfMemoryException.class, () -> NativeMemory.allocate(Long.MAX_VALUE));
        assertThrows(IllegalArgumentException.class, () -> NativeMemory.allocate(-1));
    }

    @Test
    void severalThreads() throws InterruptedException {
        long inUse = NativeMemory.bytesInUse();
        var wrong = new AtomicReference<Throwable>();
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            int seed = t;
            threads.add(Thread.ofPlatform().start(() -> {
                try {
                    var random = new Random(seed);
                    for (int i = 0; i < 2000; i++) {
                        long bytes = 8 + random.nextInt(10_000);
                        long address = NativeMemory.allocate(bytes);
                        Memory.putLong(address, address + seed);
                        Thread.yield();
                        assertEquals(address + seed, Memory.getLong(address));
                        NativeMemory.free(address, bytes);
                    }
                } catch (Throwable e) {
                    wrong.set(e);
                }
            }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertNull(wrong.get());
        assertEquals(inUse, NativeMemory.bytesInUse());
    }

    @Test
    void typedAccess() {
        long address = NativeMemory.allocate(64);
        Memory.fill(address, 64, (byte) 1);
        assertEquals(0x0101010101010101L, Memory.getLong(address));
        Memory.putFloat(address, 1.5f);
        Memory.putDouble(address + 8, -2.25);
        Memory.putInt(address + 16, 7);
        Memory.putShort(address + 20, (short) -3);
        Memory.putByte(address + 22, (byte) 9);
        Memory.copy(address, address + 32, 32);
        assertEquals(1.5f, Memory.getFloat(address + 32));
        assertEquals(-2.25, Memory.getDouble(address + 40));
        assertEquals(7, Memory.getInt(address + 48));
        assertEquals(-3, Memory.getShort(address + 52));
        assertEquals(9, Memory.getByte(address + 54));
        NativeMemory.free(address, 64);
    }
}
