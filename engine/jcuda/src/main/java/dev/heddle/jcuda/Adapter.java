// Most functions of CUDA only take handles and numbers. JCuda's methods for them differ from C's in nothing but the objects
// around the handles, so that these are put around them by rule and not by hand, function by function.
package dev.heddle.jcuda;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import jcuda.CudaException;
import jcuda.NativePointerObject;

/** JCuda's methods with the parameters of C's functions. */
final class Adapter {
    /** Of these functions a parameter is where the result goes, which a rule cannot tell from a handle. */
    private static final String HAVE_RESULTS = "cu.*(Create|Get|Alloc|Retain|Instantiate|EndCapture).*";
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    private Adapter() {
    }

    /** The method for a function, or null if there is none that takes handles and numbers alone and returns a status. */
    static MethodHandle of(Class<?> jcuda, String function, MethodType type) throws ReflectiveOperationException {
        if (function.matches(HAVE_RESULTS)) {
            return null;
        }
        Method method = method(jcuda, function);
        if (method == null) {
            method = method(jcuda, function.replaceAll("_v\\d$", ""));
        }
        if (method == null || type.returnType() != int.class || method.getParameterCount() != type.parameterCount()) {
            return null;
        }
        MethodHandle adapted = LOOKUP.unreflect(method);
        for (int i = 0; i < method.getParameterCount(); i++) {
            Class<?> parameter = method.getParameterTypes()[i];
            if (NativePointerObject.class.isAssignableFrom(parameter)) {
                adapted = MethodHandles.filterArguments(adapted, i, wrapper(parameter, type.parameterType(i)));
            }
        }
        return adapted.asType(type);
    }

    private static Method method(Class<?> jcuda, String name) {
        return Arrays.stream(jcuda.getMethods()).filter(m -> m.getName().equals(name) && Modifier.isStatic(m.getModifiers())
                && m.getReturnType() == int.class && Arrays.stream(m.getParameterTypes())
                        .allMatch(p -> p.isPrimitive() || NativePointerObject.class.isAssignableFrom(p)))
                .findFirst().orElse(null);
    }

    /** From a handle to a new object of a class. */
    private static MethodHandle wrapper(Class<?> object, Class<?> handle) throws ReflectiveOperationException {
        MethodHandle set = LOOKUP.findStatic(Handles.class, "set",
                MethodType.methodType(NativePointerObject.class, NativePointerObject.class, long.class));
        MethodHandle create = LOOKUP.findConstructor(object, MethodType.methodType(void.class));
        return MethodHandles.foldArguments(set.asType(MethodType.methodType(object, object, handle)),
                MethodHandles.dropArguments(create, 0, handle));
    }

    /** JCuda throws if the program told it to; this returns the status then, whose name is the message, as C does. */
    static MethodHandle withStatus(MethodHandle method, Class<?> names) throws ReflectiveOperationException {
        MethodHandle status = LOOKUP.findStatic(Adapter.class, "status",
                MethodType.methodType(int.class, Class.class, CudaException.class)).bindTo(names);
        return MethodHandles.catchException(method, CudaException.class,
                MethodHandles.dropArguments(status, 1, method.type().parameterList()));
    }

    private static int status(Class<?> names, CudaException thrown) {
        try {
            return names.getField(thrown.getMessage()).getInt(null);
        } catch (ReflectiveOperationException e) {
            throw thrown;
        }
    }
}
