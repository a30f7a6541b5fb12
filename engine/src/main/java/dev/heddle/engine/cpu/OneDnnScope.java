// What planning a primitive needs and running it does not: descriptors, attributes, arrays. All go when the scope closes.
package dev.heddle.engine.cpu;

import dev.heddle.engine.DType;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** Owner of native temporaries; use with {@code try}. */
final class OneDnnScope implements AutoCloseable {
    private static final int FORMAT_ANY = 1;
    private static final int SCRATCHPAD_USER = 1;
    private static final int ELTWISE_HARDSWISH = 52;
    private static final int DATA_TYPE_UNDEFINED = 0;
    private static final int MAX_DIMS = 12;

    private final Arena arena = Arena.ofConfined();
    private Runnable destroy = () -> { };

    /** {@code dnnl_data_type_t}. */
    static int dataType(DType dtype) {
        return switch (dtype) {
            case F16 -> 1;
            case BF16 -> 2;
            case F32 -> 3;
            default -> throw new IllegalArgumentException("oneDNN: dtype " + dtype);
        };
    }

    /** A memory descriptor with strides in elements. */
    long strided(DType dtype, long[] dims, long[] strides) {
        return own("dnnl_memory_desc_destroy", OneDnnApi.create("dnnl_memory_desc_create_with_strides", dims.length,
                dims(dims), dataType(dtype), dims(strides)));
    }

    /** A dense memory descriptor, the last dimension innermost. */
    long dense(DType dtype, long... dims) {
        return strided(dtype, dims, OneDnnConvolutionShape.strides(dims, false));
    }

    /** A memory descriptor whose layout the primitive chooses. */
    long any(DType dtype, long... dims) {
        return own("dnnl_memory_desc_destroy", OneDnnApi.create("dnnl_memory_desc_create_with_tag", dims.length, dims(dims),
                dataType(dtype), FORMAT_ANY));
    }

    /**
     * Attributes: scratch memory comes from the caller; the result is added to what is there, then relu is applied. oneDNN's
     * own relu makes 0 of NaN, which hides that a training has failed; {@code x clip(a x, 0, 1)} with a great {@code a} is
     * {@code x} or 0 too, and keeps NaN (of negative infinity it makes NaN). It costs 2% of a convolution of 32 channels, 11 to
     * 14% of one of a single channel.
     */
    long attributes(boolean sum, boolean relu) {
        long attributes = own("dnnl_primitive_attr_destroy", OneDnnApi.create("dnnl_primitive_attr_create"));
        OneDnnApi.call("dnnl_primitive_attr_set_scratchpad_mode", attributes, SCRATCHPAD_USER);
        if (sum || relu) {
            long operations = own("dnnl_post_ops_destroy", OneDnnApi.create("dnnl_post_ops_create"));
            if (sum) {
                OneDnnApi.call("dnnl_post_ops_append_sum", operations, 1f, 0, DATA_TYPE_UNDEFINED);
            }
            if (relu) {
                OneDnnApi.call("dnnl_post_ops_append_eltwise", operations, ELTWISE_HARDSWISH, 3e38f, 0f);
            }
            OneDnnApi.call("dnnl_primitive_attr_set_post_ops", attributes, operations);
        }
        return attributes;
    }

    /**
     * Plans a primitive by the named function and the arguments behind its first.
     *
     * @throws UnsupportedByOneDnn if there is no implementation, or only one of the slow reference ones
     */
    OneDnnPrimitive primitive(String function, Object[] rest, int... arguments) throws UnsupportedByOneDnn {
        return new OneDnnPrimitive(plan(function, rest), arguments);
    }

    /** As {@link #primitive}, but only its descriptor, which a gradient's wants to see. */
    long descriptor(String function, Object[] rest) throws UnsupportedByOneDnn {
        return own("dnnl_primitive_desc_destroy", plan(function, rest));
    }

    private long plan(String function, Object[] rest) throws UnsupportedByOneDnn {
        MemorySegment result = arena.allocate(ValueLayout.JAVA_LONG);
        int status = OneDnnApi.status(function, OneDnnApi.prepend(result, rest));
        if (status == OneDnnApi.UNIMPLEMENTED) {
            throw new UnsupportedByOneDnn("unimplemented");
        }
        OneDnnApi.check(function, status);
        long descriptor = result.get(ValueLayout.JAVA_LONG, 0);
        String implementation = OneDnnPrimitive.implementation(descriptor);
        if (implementation.startsWith("ref")) {
            OneDnnApi.call("dnnl_primitive_desc_destroy", descriptor);
            throw new UnsupportedByOneDnn("only the reference implementation " + implementation);
        }
        return descriptor;
    }

    /** Copies from one memory descriptor's layout and dtype to another's: argument 0 to argument 1. */
    OneDnnPrimitive reorder(long from, long to) {
        return new OneDnnPrimitive(OneDnnApi.create("dnnl_reorder_primitive_desc_create", from, OneDnnApi.ENGINE, to,
                OneDnnApi.ENGINE, attributes(false, false)), OneDnnPrimitive.SRC, OneDnnPrimitive.DST);
    }

    /** A {@code dnnl_dims_t}. */
    MemorySegment dims(long[] values) {
        return arena.allocateFrom(ValueLayout.JAVA_LONG, Arrays.copyOf(values, MAX_DIMS));
    }

    private long own(String destructor, long object) {
        Runnable earlier = destroy;
        destroy = () -> {
            OneDnnApi.call(destructor, object);
            earlier.run();
        };
        return object;
    }

    @Override
    public void close() {
        destroy.run();
        arena.close();
    }
}
