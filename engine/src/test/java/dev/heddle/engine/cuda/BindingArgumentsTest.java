// Every method of the bindings hands its arguments to the C function, all of them and in order. Without a GPU most of these
// functions cannot run: here a recorder stands in for each, and every method is called with numbers that can be told apart.
package dev.heddle.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class BindingArgumentsTest {
    private static final List<Class<?>> BINDINGS = List.of(Driver.class, CublasLt.class, Cudnn.class, CudnnConvolution.class,
            CudnnPooling.class, CudnnBatchNorm.class, CudnnRnn.class);
    /** Methods whose parameters are, for the reader's sake, in another order than C's. */
    private static final Set<String> REORDERED = Set.of("Driver.funcGetAttribute", "CudnnConvolution.descriptor");
    private static final int FIRST = 1000;

    private static final Thread TESTER = Thread.currentThread();
    private static final Map<NativeFunction, MethodHandle> ORIGINALS = new LinkedHashMap<>();
    private static final List<Long> RECORDED = new ArrayList<>();

    @BeforeAll
    static void record() throws Exception {
        for (Class<?> binding : BINDINGS) {
            Class.forName(binding.getName());
        }
        MethodHandle recorder = MethodHandles.lookup().findStatic(BindingArgumentsTest.class, "recorded",
                MethodType.methodType(Object.class, MethodHandle.class, Object[].class));
        for (NativeLibrary library : List.of(CudaLibraries.DRIVER, CudaLibraries.CUBLAS_LT, CudaLibraries.CUDNN)) {
            for (NativeFunction function : library.functions().values()) {
                MethodHandle original = function.getTarget();
                ORIGINALS.put(function, original);
                function.setTarget(recorder.bindTo(original).asCollector(Object[].class, function.type().parameterCount())
                        .asType(function.type()));
            }
        }
    }

    @AfterAll
    static void restore() {
        ORIGINALS.forEach(NativeFunction::setTarget);
    }

    /** Notes the numbers that are arguments of a test, and says 0, which is success; other threads are not disturbed. */
    private static Object recorded(MethodHandle original, Object... arguments) throws Throwable {
        if (Thread.currentThread() != TESTER) {
            return original.invokeWithArguments(arguments);
        }
        for (Object argument : arguments) {
            long value = argument instanceof Float || argument instanceof Double
                    ? (long) ((Number) argument).doubleValue() : ((Number) argument).longValue();
            if (value >= FIRST && value < FIRST + 100 || argument instanceof Byte) {
                RECORDED.add(value);
            }
        }
        return original.type().returnType() == long.class ? (Object) 0L : 0;
    }

    @Test
    void argumentsArriveInOrder() throws IllegalAccessException {
        Map<String, String> wrong = new TreeMap<>();
        int called = 0;
        for (Class<?> binding : BINDINGS) {
            for (Method method : binding.getDeclaredMethods()) {
                List<Long> given = new ArrayList<>();
                Object[] arguments = arguments(method, given);
                if (arguments != null) {
                    String name = binding.getSimpleName() + "." + method.getName();
                    List<Long> arrived = call(method, arguments, name, wrong);
                    if (method.getName().matches(".*Set(Int|Long)")) {
                        given.removeLast(); // the value goes by address
                    }
                    if (REORDERED.contains(name)) {
                        arrived = arrived.stream().sorted().toList();
                    }
                    if (!wrong.containsKey(name) && !given.equals(arrived)) {
                        wrong.put(name, given + " arrived as " + arrived);
                    }
                    called++;
                }
            }
        }
        assertEquals(Map.of(), wrong);
        assertTrue(called > 100, "only " + called + " methods found");
    }

    /** A different number for each parameter, which {@code given} lists; null for methods that are no C function's. */
    private static Object[] arguments(Method method, List<Long> given) {
        if (!Modifier.isStatic(method.getModifiers()) || Modifier.isPrivate(method.getModifiers()) || method.isSynthetic()
                || method.getName().equals("failure")) {
            return null;
        }
        Object[] arguments = new Object[method.getParameterCount()];
        for (int i = 0; i < arguments.length; i++) {
            Class<?> type = method.getParameterTypes()[i];
            long number = type == byte.class ? 100 + i : FIRST + i;
            arguments[i] = switch (type.getName()) {
                case "int" -> (int) number;
                case "long" -> number;
                case "float" -> (float) number;
                case "double" -> (double) number;
                case "byte" -> (byte) number;
                case "[I" -> new int[] {1, 2};
                case "[B" -> new byte[64];
                case "java.lang.String" -> "text";
                default -> null;
            };
            if (arguments[i] == null) {
                return null;
            }
            if (arguments[i] instanceof Number) {
                given.add(number);
            }
        }
        return arguments;
    }

    private static List<Long> call(Method method, Object[] arguments, String name, Map<String, String> wrong)
            throws IllegalAccessException {
        RECORDED.clear();
        method.setAccessible(true);
        try {
            method.invoke(null, arguments);
        } catch (InvocationTargetException e) {
            wrong.put(name, Arrays.toString(arguments) + ": " + e.getCause());
        }
        Set<Long> once = new LinkedHashSet<>(RECORDED); // one argument may serve twice, as the hidden size does
        return List.copyOf(once);
    }
}
