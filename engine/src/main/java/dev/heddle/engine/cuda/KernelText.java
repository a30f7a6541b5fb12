// The parts of generated kernels that elementwise kernels and reductions share.
package dev.heddle.engine.cuda;

import dev.heddle.engine.op.Expr;
import dev.heddle.engine.plan.Layout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Source text and, in the same order, the arguments of one kernel: both are added to side by side so that they agree. */
final class KernelText {
    private static final String HEADER = "#include \"common.cuh\"\n#include \"expression.cuh\"\n";
    private static final int VECTOR_BYTES = 16;
    private static final long SMALL = 1L << 31;

    private final StringBuilder parameters = new StringBuilder();
    private final List<java.util.function.Consumer<Launch.Builder>> arguments = new ArrayList<>();
    final Map<Expr.Constant, String> literals = new LinkedHashMap<>();

    /** Whether 32-bit offsets suffice for layouts. */
    static boolean small(List<Layout> layouts) {
        for (Layout layout : layouts) {
            long span = 1;
            for (int i = 0; i < layout.shape().rank(); i++) {
                span += Math.abs(layout.stride(i)) * Math.max(0, layout.shape().dim(i) - 1);
            }
            if (span >= SMALL || layout.shape().elements() >= SMALL) {
                return false;
            }
        }
        return true;
    }

    /** The file's beginning: the shared headers and the type of offsets. */
    static StringBuilder file(boolean small) {
        return new StringBuilder(HEADER).append("typedef ").append(small ? "int32_t" : "int64_t").append(" index_t;\n");
    }

    void pointer(String type, String name, int operand) {
        separate().append(type).append("* ").append(name);
        arguments.add(launch -> launch.pointer(operand));
    }

    void index(String name, long value, boolean small) {
        separate().append("const index_t ").append(name);
        arguments.add(launch -> {
            if (small) {
                launch.value(Math.toIntExact(value));
            } else {
                launch.value(value);
            }
        });
    }

    void number(String name, double value) {
        separate().append("const double ").append(name);
        arguments.add(launch -> launch.value(value));
    }

    private StringBuilder separate() {
        return parameters.isEmpty() ? parameters : parameters.append(", ");
    }

    /** The kernel's parameter list, literals last. */
    String parameters() {
        return parameters + ExpressionSource.parameters(literals);
    }

    /** Gives a launch its arguments. */
    Launch.Builder apply(Launch.Builder launch) {
        arguments.forEach(argument -> argument.accept(launch));
        ExpressionSource.add(launch, literals);
        return launch;
    }

    /**
     * How many neighbours along the innermost axis one access can take: as many as fill 16 bytes of the widest operand, if every
     * operand lies along that axis without gaps, or is repeated along it, and stays aligned along the others.
     */
    static int vector(Axes axes, List<Axes> others, List<Layout> operands, boolean divides) {
        if (axes.rank() == 0) {
            return 1;
        }
        int widest = 1;
        for (int k = 0; k < operands.size(); k++) {
            long inner = axes.innermost(k);
            if (inner != 0 && inner != 1) {
                return 1;
            }
            widest = inner == 1 ? Math.max(widest, operands.get(k).dtype().bytes()) : widest;
        }
        int vector = VECTOR_BYTES / widest;
        if ((divides || axes.rank() > 1) && axes.extents().getLast() % vector != 0) {
            return 1;
        }
        for (int k = 0; k < operands.size(); k++) {
            if (axes.innermost(k) == 1 && !(aligned(axes.strides().get(k).subList(0, axes.rank() - 1), vector)
                    && operands.get(k).offset() % vector == 0)) {
                return 1;
            }
            for (Axes other : others) {
                if (axes.innermost(k) == 1 && !aligned(other.strides().get(k), vector)) {
                    return 1;
                }
            }
        }
        return vector;
    }

    private static boolean aligned(List<Long> strides, int vector) {
        return strides.stream().allMatch(stride -> stride % vector == 0);
    }

    /**
     * Declares extents and strides of axes as parameters, and gives the statements that turn the position {@code from} into one
     * offset for each operand.
     *
     * @param unit positions count groups of so many neighbours along the innermost axis
     * @param offsets the names of the offsets, which must be declared; null for operands that are not walked
     */
    String walk(Axes axes, String prefix, String from, int unit, List<String> offsets, boolean small, String indent) {
        StringBuilder text = new StringBuilder();
        int rank = axes.rank();
        if (rank == 0) {
            return "";
        }
        text.append(indent).append("index_t ").append(prefix).append("rest = ").append(from).append(";\n");
        for (int axis = rank - 1; axis >= 0; axis--) {
            String at = prefix + axis;
            String extent = prefix + "extent" + axis;
            int step = axis == rank - 1 ? unit : 1;
            if (axis > 0) {
                index(extent, axes.extents().get(axis) / step, small);
                text.append(indent).append("const index_t ").append(at).append(" = ").append(prefix).append("rest % ").append(extent)
                        .append(step > 1 ? " * " + step : "").append(";\n");
                text.append(indent).append(prefix).append("rest /= ").append(extent).append(";\n");
            } else {
                text.append(indent).append("const index_t ").append(at).append(" = ").append(prefix).append("rest")
                        .append(step > 1 ? " * " + step : "").append(";\n");
            }
            for (int k = 0; k < offsets.size(); k++) {
                long stride = offsets.get(k) == null ? 0 : axes.strides().get(k).get(axis);
                if (stride == 1) {
                    text.append(indent).append(offsets.get(k)).append(" += ").append(at).append(";\n");
                } else if (stride != 0) {
                    String name = prefix + "stride" + k + "_" + axis;
                    index(name, stride, small);
                    text.append(indent).append(offsets.get(k)).append(" += ").append(at).append(" * ").append(name).append(";\n");
                }
            }
        }
        return text.toString();
    }
}
