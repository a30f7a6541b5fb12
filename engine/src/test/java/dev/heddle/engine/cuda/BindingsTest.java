// A wrong constant or argument type in a hand-written binding is memory corruption on somebody's GPU. Bytedeco generated the
// same declarations from NVIDIA's headers: everything ours say is compared with its class files, without loading any of it.
package dev.heddle.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.classfile.Attributes;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.constant.ClassDesc;
import java.lang.constant.MethodTypeDesc;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.AccessFlag;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class BindingsTest {
    private static final List<NativeLibrary> LIBRARIES =
            List.of(CudaLibraries.DRIVER, CudaLibraries.NVRTC, CudaLibraries.CUBLAS_LT, CudaLibraries.CUDNN);
    /** The versioned name came with CUDA 12.8 and differs in what pending work it reports: the first one is in every driver. */
    private static final Set<String> FIRST_VERSION_IS_MEANT = Set.of("cuEventElapsedTime");
    private static final Pattern CONSTANT = Pattern.compile("(CU|CUDA|CUBLAS|CUBLASLT|CUDNN|NVRTC)_[A-Z0-9_]+");

    private static final Map<String, Long> HEADER_CONSTANTS = new HashMap<>();
    private static final Map<String, Set<String>> HEADER_FUNCTIONS = new HashMap<>();
    private static final List<Class<?>> BINDINGS = new ArrayList<>();

    @BeforeAll
    static void read() throws Exception {
        for (String library : List.of("cudart", "nvrtc", "cublas", "cudnn")) {
            readHeader("/org/bytedeco/cuda/global/" + library + ".class");
        }
        for (Class<?> type : packageClasses()) {
            if (Arrays.stream(type.getDeclaredFields()).anyMatch(field -> field.getType() == NativeFunction.class)) {
                Class.forName(type.getName()); // declares its functions; loads no library
                BINDINGS.add(type);
            }
        }
    }

    private static void readHeader(String resource) throws IOException {
        ClassModel model;
        try (InputStream content = BindingsTest.class.getResourceAsStream(resource)) {
            assertNotNull(content, resource);
            model = ClassFile.of().parse(content.readAllBytes());
        }
        model.fields().forEach(field -> field.findAttribute(Attributes.constantValue()).ifPresent(value -> {
            if (value.constant().constantValue() instanceof Number number) {
                HEADER_CONSTANTS.put(field.fieldName().stringValue(), number.longValue());
            }
        }));
        model.methods().stream().filter(method -> method.flags().has(AccessFlag.NATIVE))
                .forEach(method -> HEADER_FUNCTIONS.computeIfAbsent(method.methodName().stringValue(), _ -> new HashSet<>())
                        .add(kinds(method.methodTypeSymbol())));
    }

    /** Every class of the package, not initialised. */
    private static List<Class<?>> packageClasses() throws URISyntaxException, IOException {
        URI folder = Driver.class.getResource("Driver.class").toURI().resolve(".");
        try (Stream<Path> files = Files.list(Path.of(folder))) {
            return files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".class"))
                    .<Class<?>>map(name -> classNamed(name.substring(0, name.length() - ".class".length()))).toList();
        }
    }

    private static Class<?> classNamed(String name) {
        try {
            return Class.forName(Driver.class.getPackageName() + "." + name, false, BindingsTest.class.getClassLoader());
        } catch (ClassNotFoundException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void bindingsAreFound() {
        assertTrue(BINDINGS.containsAll(List.of(Driver.class, Nvrtc.class, CublasLt.class, Cudnn.class,
                CudnnConvolution.class, CudnnPooling.class, CudnnBatchNorm.class, CudnnRnn.class)), () -> "" + BINDINGS);
    }

    @Test
    void constantsAreTheHeaders() throws IllegalAccessException {
        Map<String, String> wrong = new TreeMap<>();
        int checked = 0;
        for (Class<?> binding : BINDINGS) {
            for (Field field : binding.getDeclaredFields()) {
                if (Modifier.isStatic(field.getModifiers()) && CONSTANT.matcher(field.getName()).matches()) {
                    field.setAccessible(true);
                    long ours = ((Number) field.get(null)).longValue();
                    Long header = HEADER_CONSTANTS.get(field.getName());
                    if (header == null || header != ours) {
                        wrong.put(binding.getSimpleName() + "." + field.getName(), ours + " is " + header + " in the header");
                    }
                    checked++;
                }
            }
        }
        assertEquals(Map.of(), wrong);
        assertTrue(checked > 100, "only " + checked + " constants found");
    }

    @Test
    void functionsHaveTheHeadersArguments() {
        Map<String, String> wrong = new TreeMap<>();
        int checked = 0;
        for (NativeLibrary library : LIBRARIES) {
            for (Map.Entry<String, NativeFunction> function : library.functions().entrySet()) {
                String ours = kinds(function.getValue().descriptor());
                Set<String> header = header(function.getKey());
                if (!header.contains(ours)) {
                    wrong.put(function.getKey(), ours + " is " + header + " in the header");
                }
                checked++;
            }
        }
        assertEquals(Map.of(), wrong);
        assertTrue(checked > 120, "only " + checked + " functions found");
    }

    /** cuda.h names the newest versions of functions by macros, so that Bytedeco's methods have names without versions. */
    private static Set<String> header(String function) {
        return Stream.of(function, function.replaceAll("_v\\d$", ""), function.replaceAll("WithFlags$", ""))
                .map(HEADER_FUNCTIONS::get).filter(kinds -> kinds != null).findFirst().orElse(Set.of());
    }

    @Test
    void structsHaveTheHeadersSizes() {
        // sizeof in cuda.h 13.0; for the others the sums of the fields that the headers of cuBLASLt 13 and cuDNN 9 list
        assertEquals(24, Driver.GRAPH_EXEC_UPDATE_RESULT_INFO.byteSize());
        assertEquals(16, Driver.UUID.byteSize());
        assertEquals(64, CublasLt.MATMUL_ALGO.byteSize());
        assertEquals(96, CublasLt.MATMUL_HEURISTIC_RESULT.byteSize());
        assertEquals(48, CudnnConvolution.ALGO_PERF.byteSize());
    }

    /** A bare name binds the first version of a function, with other types: cuMemAlloc takes 32-bit sizes. */
    @Test
    void driverFunctionsAreTheVersionsOfTheHeader() throws IOException {
        Path header = Stream.of(System.getenv("CUDA_HOME"), System.getenv("CUDA_PATH"), "/usr/local/cuda")
                .filter(home -> home != null && !home.isEmpty()).map(home -> Path.of(home, "include", "cuda.h"))
                .filter(Files::isReadable).findFirst().orElse(null);
        assumeTrue(header != null, "no toolkit with cuda.h on this machine");
        Matcher macros = Pattern.compile("(?m)^\\s*#define +(cu\\w+) +(cu\\w+)\\s*$").matcher(Files.readString(header));
        Map<String, String> versioned = new HashMap<>();
        while (macros.find()) {
            versioned.put(macros.group(1), macros.group(2));
        }
        assertEquals("cuMemAlloc_v2", versioned.get("cuMemAlloc"), () -> header + " is read wrongly");
        Map<String, String> old = CudaLibraries.DRIVER.functions().keySet().stream()
                .filter(name -> versioned.containsKey(name) && !FIRST_VERSION_IS_MEANT.contains(name))
                .collect(Collectors.toMap(name -> name, versioned::get));
        assertEquals(Map.of(), old);
    }

    /** One letter an argument, then the result: {@code P} for pointers and handles, otherwise as in a class file. */
    private static String kinds(MethodTypeDesc type) {
        return type.parameterList().stream().map(BindingsTest::kind).collect(Collectors.joining()) + ":"
                + kind(type.returnType());
    }

    private static String kind(ClassDesc type) {
        return type.isPrimitive() ? type.descriptorString() : "P";
    }

    private static String kinds(FunctionDescriptor descriptor) {
        return descriptor.argumentLayouts().stream().map(BindingsTest::kind).collect(Collectors.joining()) + ":"
                + descriptor.returnLayout().map(BindingsTest::kind).orElse("V");
    }

    private static String kind(MemoryLayout layout) {
        if (layout.equals(NativeLibrary.POINTER)) {
            return "P";
        }
        return ((ValueLayout) layout).carrier().descriptorString();
    }
}
