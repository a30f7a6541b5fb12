// Two fused ops on the same inputs as one, where there is a kernel that does both: a loss and its gradient.
package dev.heddle.engine.plan;

import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.stream.IntStream;

/** Rewrites a list of instructions in topological order. */
final class Joining {
    private Joining() {}

    /** Joins what {@link Fused#joined} can, unless the second op needs a result of the first. */
    static List<Instruction> join(List<Instruction> instructions, IntFunction<Spec> spec, Backend backend) {
        for (int second = 0; second < instructions.size(); second++) {
            for (int first = 0; first < second && instructions.get(second).op instanceof Fused; first++) {
                List<Instruction> joined = join(instructions, first, second, spec, backend);
                if (joined != null) {
                    return join(joined, spec, backend);
                }
            }
        }
        return instructions;
    }

    private static List<Instruction> join(List<Instruction> instructions, int first, int second, IntFunction<Spec> spec, Backend backend) {
        Instruction a = instructions.get(first);
        Instruction b = instructions.get(second);
        Fused both = a.op instanceof Fused op && b.op instanceof Fused other ? op.joined(other) : null;
        if (both == null || !Arrays.equals(a.inputs, Arrays.copyOf(b.inputs, a.inputs.length))
                || !backend.supports(both, Arrays.stream(b.inputs).mapToObj(spec).toList())) {
            return null;
        }
        Set<Integer> behind = new HashSet<>(Arrays.stream(a.outputs).boxed().toList()); // values that need a result of the first
        List<Instruction> before = new ArrayList<>(instructions.subList(0, first));
        List<Instruction> after = new ArrayList<>();
        for (Instruction i : instructions.subList(first + 1, second)) {
            boolean needs = Arrays.stream(i.inputs).anyMatch(behind::contains);
            (needs ? after : before).add(i);
            if (needs) {
                Arrays.stream(i.outputs).forEach(behind::add);
            }
        }
        if (Arrays.stream(b.inputs).anyMatch(behind::contains)) {
            return null;
        }
        int[] outputs = IntStream.concat(Arrays.stream(a.outputs), Arrays.stream(b.outputs)).toArray();
        before.add(new Instruction(both, b.inputs, outputs, b.node));
        before.addAll(after);
        before.addAll(instructions.subList(second + 1, instructions.size()));
        return before;
    }
}
