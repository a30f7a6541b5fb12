// The runtime compiler through JNvrtc.
package dev.heddle.jcuda;

import static dev.heddle.jcuda.Handles.set;
import static dev.heddle.jcuda.Handles.store;

import dev.heddle.engine.memory.Memory;
import java.nio.charset.StandardCharsets;
import jcuda.nvrtc.JNvrtc;
import jcuda.nvrtc.nvrtcProgram;

/** Methods with the names and parameters of C's functions; {@code nvrtcGetErrorString} is called directly. */
final class NvrtcFunctions {
    private NvrtcFunctions() {
    }

    static int nvrtcVersion(long major, long minor) {
        int[] first = new int[1];
        int[] second = new int[1];
        int status = JNvrtc.nvrtcVersion(first, second);
        store(minor, second, status);
        return store(major, first, status);
    }

    static int nvrtcCreateProgram(long result, long source, long name, int headers, long texts, long names) {
        nvrtcProgram program = new nvrtcProgram();
        return store(result, program, JNvrtc.nvrtcCreateProgram(program, Handles.text(source), Handles.text(name), headers,
                Handles.texts(headers, texts), Handles.texts(headers, names)));
    }

    private static nvrtcProgram program(long program) {
        return set(new nvrtcProgram(), program);
    }

    /** The parameter is the address of the handle. */
    static int nvrtcDestroyProgram(long program) {
        nvrtcProgram destroyed = program(Memory.getLong(program));
        return store(program, destroyed, JNvrtc.nvrtcDestroyProgram(destroyed));
    }

    static int nvrtcCompileProgram(long program, int count, long options) {
        return JNvrtc.nvrtcCompileProgram(program(program), count, Handles.texts(count, options));
    }

    static int nvrtcGetCUBINSize(long program, long result) {
        long[] bytes = new long[1];
        return store(result, bytes, JNvrtc.nvrtcGetCUBINSize(program(program), bytes));
    }

    static int nvrtcGetCUBIN(long program, long result) {
        long[] bytes = new long[1];
        int status = JNvrtc.nvrtcGetCUBINSize(program(program), bytes);
        if (status != 0) {
            return status;
        }
        byte[] cubin = new byte[Math.toIntExact(bytes[0])];
        status = JNvrtc.nvrtcGetCUBIN(program(program), cubin);
        store(result, cubin, cubin.length);
        return status;
    }

    static int nvrtcGetProgramLogSize(long program, long result) {
        long[] bytes = new long[1];
        return store(result, bytes, JNvrtc.nvrtcGetProgramLogSize(program(program), bytes));
    }

    static int nvrtcGetProgramLog(long program, long result) {
        long[] bytes = new long[1];
        int status = JNvrtc.nvrtcGetProgramLogSize(program(program), bytes);
        if (status != 0) {
            return status;
        }
        String[] log = new String[1];
        status = JNvrtc.nvrtcGetProgramLog(program(program), log);
        if (status == 0) {
            store(result, log[0].getBytes(StandardCharsets.UTF_8), Math.toIntExact(bytes[0]));
        }
        return status;
    }
}
