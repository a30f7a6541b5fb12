// Loading and calling libraries, tried on the C library and on files that are none.
package dev.heddle.engine.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

@EnabledOnOs(OS.LINUX)
class NativeLibraryTest {
    private static final NativeLibrary C = library("libc", "6");
    private static final NativeFunction ABS = C.function("abs", JAVA_INT);
    private static final MethodHandle ABS_HANDLE = ABS.dynamicInvoker();

    private static NativeLibrary library(String name, String version) {
        return new NativeLibrary(name, List.of(version), List.of(), List.of(),
                (call, status) -> new CudaException(call, status, "STATUS_" + status, "a text", 3));
    }

    @Test
    void functionsAreLinkedByTheirFirstCall() throws Throwable {
        assertEquals(5, (int) ABS_HANDLE.invokeExact(-5));
        assertEquals(7, (int) ABS_HANDLE.invokeExact(7));
        assertEquals(9, ABS.status(-9));
        assertTrue(C.path().getFileName().toString().startsWith("libc"), () -> "" + C.path());
    }

    @Test
    void aStatusOtherThanZeroThrowsWhatItMeans() {
        ABS.call(0);
        CudaException e = assertThrows(CudaException.class, () -> ABS.call(-2));
        assertEquals("cuda:3: abs: STATUS_2 (2): a text", e.getMessage());
        assertEquals("abs", e.call());
        assertEquals(2, e.status());
        assertEquals("STATUS_2", e.statusName());
        assertEquals("cuda:3: softmax_forward_f32: abs: STATUS_2 (2): a text", e.in("softmax_forward_f32").getMessage());
        assertEquals("softmax", e.in("softmax").in("plan").operation());
    }

    @Test
    void aFunctionThatIsMissingIsNamedWhenItIsCalled() {
        NativeFunction missing = C.function("cuNoSuchFunction_v2", JAVA_INT);
        CudaException e = assertThrows(CudaException.class, () -> missing.call(1));
        assertTrue(e.getMessage().contains("cuNoSuchFunction_v2"), e::getMessage);
        assertTrue(e.getMessage().contains(C.path().toString()), e::getMessage);
        assertEquals(CudaException.NO_STATUS, e.status());
    }

    @Test
    void aFileThatIsNoLibraryIsReportedInTheLoadersWords(@TempDir Path folder) throws Exception {
        Path file = Files.createDirectory(folder.resolve("lib64")).resolve("libheddleabsent.so.1");
        Files.writeString(file, "not a library, but long enough to be read as one: ".repeat(10));
        NativeLibrary library = library("libheddleabsent", "1");
        String before = System.getProperty("heddle.cuda.home");
        System.setProperty("heddle.cuda.home", folder.toString());
        try {
            assertFalse(library.load());
        } finally {
            if (before == null) {
                System.clearProperty("heddle.cuda.home");
            } else {
                System.setProperty("heddle.cuda.home", before);
            }
        }
        assertNull(library.path());
        String tried = String.join("\n", library.tried());
        assertTrue(tried.contains(file + ": invalid ELF header"), tried);
        assertTrue(tried.contains("libheddleabsent.so.1: cannot open shared object file"), tried);
        CudaException e = assertThrows(CudaException.class, () -> library.function("f", JAVA_INT).call(1));
        assertTrue(e.getMessage().contains("invalid ELF header"), e::getMessage);
    }

    @Test
    void everyLibraryIsReported() {
        List<CudaLibraries.Found> found = CudaLibraries.report();
        assertEquals(List.of("libcuda", "libnvrtc", "libcublasLt", "libcudnn"),
                found.stream().map(CudaLibraries.Found::library).toList());
        for (CudaLibraries.Found library : found) {
            assertEquals(library.path() == null, library.version() == null, library::toString);
            assertEquals(library.path() == null, library.problem() != null, library::toString);
        }
    }

    @Test
    void sourcesCompileToMachineCode() {
        assumeTrue(Nvrtc.available(), "NVRTC is not on this machine");
        String source = "extern \"C\" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }";
        byte[] cubin = Nvrtc.compile(source, "twice.cu", List.of("--gpu-architecture=sm_90"));
        assertArrayEquals(new byte[] {0x7f, 'E', 'L', 'F'}, Arrays.copyOf(cubin, 4));
        CudaException e = assertThrows(CudaException.class, () -> Nvrtc.compile(source.replace("x[", "y["), "twice.cu",
                List.of("--gpu-architecture=sm_90")));
        assertEquals(Nvrtc.NVRTC_ERROR_COMPILATION, e.status());
        assertTrue(e.getMessage().contains("identifier \"y\" is undefined"), e::getMessage);
    }
}
