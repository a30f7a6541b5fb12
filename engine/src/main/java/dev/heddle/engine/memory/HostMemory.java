// The CPU as a device.
package dev.heddle.engine.memory;

import java.lang.foreign.MemorySegment;

/** {@link NativeMemory} behind the interface all devices have. */
final class HostMemory implements DeviceMemory {
    @Override
    public long allocate(long bytes) {
        return NativeMemory.allocate(bytes);
    }

    @Override
    public void free(long address, long bytes) {
        NativeMemory.free(address, bytes);
    }

    @Override
    public void upload(MemorySegment source, long address) {
        MemorySegment.copy(source, 0, Memory.ALL, address, source.byteSize());
    }

    @Override
    public void download(long address, MemorySegment target) {
        MemorySegment.copy(Memory.ALL, address, target, 0, target.byteSize());
    }

    @Override
    public void copy(long source, long target, long bytes) {
        Memory.copy(source, target, bytes);
    }

    @Override
    public void write(long[] words, long address) {
        for (int i = 0; i < words.length; i++) {
            Memory.putLong(address + 8L * i, words[i]);
        }
    }

    @Override
    public Statistics statistics() {
        return new Statistics(NativeMemory.bytesInUse(), NativeMemory.peakBytesInUse(), NativeMemory.bytesReserved(),
                NativeMemory.nativeAllocations());
    }

    @Override
    public String name() {
        return "cpu";
    }
}
