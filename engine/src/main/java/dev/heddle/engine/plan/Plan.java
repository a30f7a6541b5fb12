// A compiled graph: a flat list of kernel calls on memory that was laid out beforehand.
package dev.heddle.engine.plan;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.op.Elementwise;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Step.Operand;
import java.util.List;

/**
 * What runs when a graph is evaluated. Print it to see the steps, what was fused, where values live and how much memory is
 * needed. One run at a time.
 */
public final class Plan {
    /** Looks at the result of a step; used to find the first NaN. */
    public interface Check {
        /** Called after the step that computed an output of a graph node, contiguous at {@code address}. */
        void check(int node, Spec spec, long address);
    }

    private static final long LARGEST_FIXED = 64 << 20; // bytes; copying more costs more than it saves

    private final PlanCache.Source source;
    private final PlanCache device;
    private final List<Step> steps;
    private final List<Storage> storages;
    private final List<Call> calls;
    private final Kernel[] kernels; // by call, as all below
    private final long[][] addresses; // the kernel's argument
    private final int[][] argumentStorage;
    private final long[][] argumentOffset; // bytes
    private final ArenaLayout layout;
    private final long[] table; // by storage, addresses in the current run
    private final Buffer scalars; // 8 bytes a scalar
    private final long[] scalarBits;
    private final Runnable program;
    private final Buffer[] fixed; // by storage: the fixed place of data or a result that moves, else null
    private final long[] given; // by storage: where it was in the run before
    private long arenaAddress = -1;
    private Buffer[] separate = {}; // by storage, in the current run, instead of the arena
    private final long[] nanos; // in the profiled runs
    private long profiledRuns;

    /** @param group whether steps may be joined into calls */
    Plan(PlanCache.Source source, List<Step> steps, List<Storage> storages, PlanCache device, boolean group) {
        this.source = source;
        this.device = device;
        this.steps = List.copyOf(steps);
        this.storages = List.copyOf(storages);
        calls = Calls.of(this.steps, this.storages, device.backend(), group);
        int n = calls.size();
        kernels = new Kernel[n];
        long[] workspaces = new long[n];
        for (int i = 0; i < n; i++) {
            kernels[i] = device.backend().kernel(calls.get(i));
            workspaces[i] = kernels[i].workspaceBytes();
        }
        layout = new ArenaLayout(calls, storages, workspaces);
        table = new long[storages.size() + n];
        addresses = new long[n][];
        nanos = new long[n];
        argumentStorage = new int[n][];
        argumentOffset = new long[n][];
        for (int i = 0; i < n; i++) {
            bind(i, workspaces[i] > 0);
        }
        int count = (int) storages.stream().filter(s -> s.kind() == Storage.Kind.SCALAR).count();
        scalarBits = new long[count];
        scalars = count == 0 ? null : Buffer.allocate(device.backend().memory(), 8L * count, "plan scalars").ofPlan();
        int next = 0;
        for (int s = 0; s < storages.size(); s++) {
            if (storages.get(s).kind() == Storage.Kind.SCALAR) {
                table[s] = scalars.address() + 8L * next++;
            }
        }
        program = device.backend().program(kernels, addresses);
        fixed = new Buffer[storages.size()];
        given = new long[storages.size()];
    }

    private void bind(int i, boolean workspace) {
        List<Operand> operands = calls.get(i).operands();
        int n = operands.size();
        addresses[i] = new long[n + (workspace ? 1 : 0)];
        argumentStorage[i] = new int[addresses[i].length];
        argumentOffset[i] = new long[addresses[i].length];
        for (int k = 0; k < n; k++) {
            argumentStorage[i][k] = operands.get(k).storage();
            argumentOffset[i][k] = operands.get(k).layout().byteOffset();
        }
        if (workspace) {
            argumentStorage[i][n] = storages.size() + i;
        }
    }

    /** Bytes of scratch memory the plan needs while it runs, besides its sources, states and results. */
    public long peakBytes() {
        return layout.bytes;
    }

    /** Number of kernel calls; steps that run together are one. */
    public int size() {
        return calls.size();
    }

    /** The steps, in order. */
    public List<Step> steps() {
        return steps;
    }

    /**
     * Runs the plan.
     *
     * @param check called behind each step, or null
     * @param profile whether to note the time of each step
     */
    public void run(Bindings bindings, Check check, boolean profile) {
        bind(bindings);
        for (int i = 0; i < kernels.length; i++) {
            long[] arguments = addresses[i];
            int[] from = argumentStorage[i];
            long[] offsets = argumentOffset[i];
            for (int k = 0; k < arguments.length; k++) {
                arguments[k] = table[from[k]] + offsets[k];
            }
        }
        if (check == null && !profile) {
            program.run();
        } else {
            runOneByOne(check, profile);
        }
        copyFixedResults(bindings);
        device.backend().launched();
        for (Buffer value : separate) {
            if (value != null) {
                value.close();
            }
        }
    }

    private void runOneByOne(Check check, boolean profile) {
        profiledRuns += profile ? 1 : 0;
        device.backend().synchronize();
        for (int i = 0; i < kernels.length; i++) {
            long start = profile ? System.nanoTime() : 0;
            kernels[i].run(addresses[i]);
            device.backend().synchronize();
            nanos[i] += profile ? System.nanoTime() - start : 0;
            if (check != null) {
                check(check, calls.get(i).steps().getFirst(), addresses[i]);
            }
        }
    }

    private void check(Check check, Step step, long[] arguments) {
        for (int k = 0; k < step.outputs().size(); k++) {
            Layout output = step.outputs().get(k).layout();
            if (output.isDense()) { // the order of the elements does not matter
                check.check(source.origins()[step.node()], output.spec(), arguments[step.inputs().size() + k]);
            }
        }
    }

    private void bind(Bindings bindings) {
        if (device.backend().separatesValues()) {
            separate();
        } else if (layout.bytes > 0) {
            long arena = device.scratch(layout.bytes);
            if (arena != arenaAddress) {
                arenaAddress = arena;
                for (int s = 0; s < table.length; s++) {
                    if (layout.offsets[s] >= 0) {
                        table[s] = arenaAddress + layout.offsets[s];
                    }
                }
            }
        }
        int scalar = 0;
        for (int s = 0; s < storages.size(); s++) {
            Storage storage = storages.get(s);
            switch (storage.kind()) {
                case ARENA -> { }
                case SCALAR -> scalarBits[scalar++] = given(bindings, storage.index());
                case SOURCE -> {
                    long address = given(bindings, storage.index());
                    table[s] = place(s, address);
                    if (table[s] != address) {
                        device.backend().memory().copy(address, table[s], storage.bytes());
                    }
                }
                case STATE -> table[s] = bindings.states()[source.slots()[storage.index()]];
                case ROOT -> table[s] = place(s, bindings.roots()[storage.index()]);
            }
        }
        if (scalars != null) {
            device.backend().memory().write(scalarBits, scalars.address());
        }
    }

    /** Memory for each value, and for each workspace; values that are written over others share theirs. */
    private void separate() {
        separate = new Buffer[table.length];
        for (int s = 0; s < table.length; s++) {
            if (layout.offsets[s] >= 0) {
                int root = layout.root(s);
                if (separate[root] == null) {
                    separate[root] = Buffer.allocate(device.backend().memory(), layout.sizes[root], "plan value").ofPlan();
                }
                table[s] = separate[root].address();
            }
        }
    }

    /** Where the kernels find data or put a result: where it is, or a fixed place if it was seen to move. */
    private long place(int s, long address) {
        if (fixed[s] == null && given[s] != 0 && given[s] != address && device.backend().prefersFixedAddresses()
                && storages.get(s).bytes() <= LARGEST_FIXED) {
            fixed[s] = Buffer.allocate(device.backend().memory(), storages.get(s).bytes(), "plan data").ofPlan();
        }
        given[s] = address;
        return fixed[s] == null ? address : fixed[s].address();
    }

    private void copyFixedResults(Bindings bindings) {
        for (int s = 0; s < fixed.length; s++) {
            if (fixed[s] != null && storages.get(s).kind() == Storage.Kind.ROOT) {
                device.backend().memory().copy(fixed[s].address(), bindings.roots()[storages.get(s).index()], storages.get(s).bytes());
            }
        }
    }

    private long given(Bindings bindings, int value) {
        int original = source.sourceValues()[value];
        return original >= 0 ? bindings.sources()[original] : source.constants()[value];
    }

    /** The steps, one a line, with what was fused, mean times if profiled, where operands live and how they lie, and the memory needed. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder();
        text.append("plan: ").append(source.graph().nodes()).append(" recorded nodes, ").append(steps.size())
                .append(" steps in ").append(size()).append(" calls, peak ").append(peakBytes()).append(" bytes of scratch\n");
        for (int i = 0; i < calls.size(); i++) {
            List<Step> together = calls.get(i).steps();
            for (Step step : together) {
                boolean first = step == together.getFirst();
                text.append(first ? String.format("%4d  ", i) : "   +  ");
                if (profiledRuns > 0) {
                    text.append(first ? String.format("%8.1f us  ", nanos[i] / 1e3 / profiledRuns) : " ".repeat(13));
                }
                append(text, step, calls.get(i).rows());
            }
        }
        return text.toString();
    }

    private void append(StringBuilder text, Step step, Call.Rows rows) {
        text.append(String.format("%-24s", name(step)));
        for (Operand output : step.outputs()) {
            text.append(' ').append(place(output, rows));
        }
        text.append(" <-");
        for (Operand input : step.inputs()) {
            text.append(' ').append(place(input, rows));
        }
        if (step.op() instanceof Elementwise e && e.outputs().getFirst().size() > 2) {
            text.append("   ").append(e.outputs());
        } else if (step.prologue() != null) {
            text.append("   of ").append(step.prologue());
        }
        text.append(rows == null ? "\n" : "   (" + rows.count() + " rows)\n");
    }

    private static String name(Step step) {
        String name = step.prologue() != null ? "fused_" + step.op().name() : step.op().name();
        if (step.op() instanceof Elementwise e && e.outputs().getFirst().size() > 4) {
            name = "fused_" + name;
        }
        return name + (step.epilogue().bias() ? "+bias" : "") + (step.epilogue().relu() ? "+relu" : "");
    }

    private String place(Operand operand, Call.Rows rows) {
        Storage storage = storages.get(operand.storage());
        String where = switch (storage.kind()) {
            case ARENA -> rows != null && rows.internal().contains(operand.storage()) ? "row" + operand.storage() : "@" + (layout.offsets[operand.storage()] + operand.layout().byteOffset());
            case SCALAR -> "scalar";
            case SOURCE -> "data" + storage.index();
            case STATE -> "state" + storage.index();
            case ROOT -> "result" + storage.index();
        };
        return where + ":" + operand.layout();
    }
}
