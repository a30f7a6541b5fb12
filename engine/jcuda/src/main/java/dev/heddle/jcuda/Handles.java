// The engine's handles are C's, as longs; JCuda wraps each in an object that nobody else can make from a number or read.
package dev.heddle.jcuda;

import dev.heddle.engine.memory.Memory;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.driver.CUstream;

/** Between JCuda's objects and numbers, C strings and arrays. */
final class Handles {
    private static final VarHandle NATIVE_POINTER = field(NativePointerObject.class, "nativePointer");
    private static final VarHandle BYTE_OFFSET = field(Pointer.class, "byteOffset");

    private Handles() {
    }

    private static VarHandle field(Class<?> type, String name) {
        try {
            return MethodHandles.privateLookupIn(type, MethodHandles.lookup()).findVarHandle(type, name, long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** Makes a new object stand for a handle. */
    static <T extends NativePointerObject> T set(T object, long handle) {
        NATIVE_POINTER.set((NativePointerObject) object, handle);
        return object;
    }

    /** The handle that an object stands for. */
    static long get(NativePointerObject object) {
        return (long) NATIVE_POINTER.get(object);
    }

    /** The address that a pointer to native memory stands for. */
    static long address(Pointer pointer) {
        return (long) NATIVE_POINTER.get((NativePointerObject) pointer) + (long) BYTE_OFFSET.get(pointer);
    }

    /** Writes the handle that an object stands for to an address, if the call that set it was successful. */
    static int store(long address, NativePointerObject object, int status) {
        if (status == 0) {
            Memory.putLong(address, get(object));
        }
        return status;
    }

    static Pointer pointer(long address) {
        return set(new Pointer(), address);
    }

    static CUstream stream(long stream) {
        return set(new CUstream(), stream);
    }

    /** A C string; what is not ASCII, in comments only, becomes a question mark, because JCuda counts characters, not bytes. */
    static String text(long address) {
        return Memory.ALL.getString(address).replaceAll("[^\\x00-\\x7f]", "?");
    }

    /** An array of C strings. */
    static String[] texts(int count, long address) {
        String[] texts = new String[count];
        for (int i = 0; i < count; i++) {
            texts[i] = text(Memory.getLong(address + 8L * i));
        }
        return texts;
    }

    /** An array of {@code int}s. */
    static int[] ints(int count, long address) {
        int[] values = new int[count];
        for (int i = 0; i < count; i++) {
            values[i] = Memory.getInt(address + 4L * i);
        }
        return values;
    }

    /** Writes an {@code int} to an address, if the call that gave it was successful. */
    static int store(long address, int[] value, int status) {
        if (status == 0) {
            Memory.putInt(address, value[0]);
        }
        return status;
    }

    /** Writes a 64-bit number to an address, if the call that gave it was successful. */
    static int store(long address, long[] value, int status) {
        if (status == 0) {
            Memory.putLong(address, value[0]);
        }
        return status;
    }

    /** Writes bytes to an address. */
    static void store(long address, byte[] bytes, int count) {
        for (int i = 0; i < count; i++) {
            Memory.putByte(address + i, i < bytes.length ? bytes[i] : 0);
        }
    }
}
