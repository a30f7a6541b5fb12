// What a GPU costs its host: a launch outside a graph, and a step that replays one.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.kernel.KernelCase;
import dev.heddle.bench.peer.Workload;
import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.cuda.Cuda;
import dev.heddle.engine.cuda.FusedKernels;
import dev.heddle.engine.op.Fused;
import dev.heddle.engine.op.Spec;
import dev.heddle.engine.plan.Kernel;
import dev.heddle.engine.plan.Layout;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * {@code GpuHost launch|replay OUT.json [quick]}. {@code launch} needs {@code -Dheddle.cuda.graphs=false} and times 200 launches of
 * an empty kernel with three arguments, one behind the other, from inside a plan. {@code replay} records training steps of a
 * three-layer perceptron and takes the processor time of evaluating them: look-up of the plan, binding, one graph launch.
 */
public final class GpuHost {
    private static final int LAUNCHES = 200;

    private GpuHost() {}

    /** Runs. */
    public static void main(String[] arguments) throws IOException {
        Device.use(Device.parse("cuda"));
        boolean quick = arguments.length > 2;
        ObjectNode json = new ObjectMapper().createObjectNode();
        if (arguments[0].equals("launch")) {
            put(json, "launch_us", quick ? 3 : 301, GpuHost::launch);
        } else {
            Step step = new Step();
            for (int i = 0; i < (quick ? 3 : 20_000); i++) {
                step.record();
                step.evaluate();
            }
            put(json, "record_us", quick ? 2 : 21, () -> step.times(quick ? 2 : 100, true));
            put(json, "evaluate_us", quick ? 2 : 21, () -> step.times(quick ? 2 : 100, false));
            json.put("calls", Debug.lastPlan().size());
        }
        System.out.println(json.toPrettyString());
        Files.writeString(Path.of(arguments[1]), json.toPrettyString() + "\n");
        System.exit(0);
    }

    private static void put(ObjectNode json, String name, int rounds, java.util.function.DoubleSupplier measurement) {
        double[] values = new double[rounds];
        Arrays.setAll(values, i -> measurement.getAsDouble());
        Arrays.sort(values);
        json.putObject(name).put("median", values[rounds / 2]).put("min", values[0]).put("max", values[rounds - 1]);
    }

    private static double launch() {
        try (Tensor x = Tensor.of(new float[32], 32); Tensor y = Tensor.recordAll(new Launches(), List.of(x)).getFirst().eval()) {
            y.toFloatArray(); // the queue is empty again
            return Provider.nanos / 1e3 / LAUNCHES;
        }
    }

    /** Does nothing, often. */
    record Launches() implements Fused {
        @Override
        public List<Spec> infer(List<Spec> inputs) {
            return inputs;
        }

        @Override
        public List<Tensor> decompose(List<Tensor> inputs) {
            return List.of(inputs.getFirst().add(0));
        }

        @Override
        public String name() {
            return "launches";
        }
    }

    /** Its kernel, which times itself. */
    public static final class Provider implements FusedKernels {
        private static final String SOURCE = "extern \"C\" __global__ void nothing(float* out, const float* in, int n) {}";
        private static volatile long nanos;

        /** For the service loader. */
        public Provider() {}

        @Override
        public boolean supports(Fused op, List<Spec> inputs) {
            return op instanceof Launches;
        }

        @Override
        public Kernel kernel(Fused op, List<Layout> inputs, List<Layout> outputs, Cuda cuda) {
            Kernel launch = cuda.source(SOURCE, "nothing").pointer(1).pointer(0).value(32).grid(1, 1, 1).block(32, 1, 1).build();
            return addresses -> {
                long start = System.nanoTime();
                for (int i = 0; i < LAUNCHES; i++) {
                    launch.run(addresses);
                }
                nanos = System.nanoTime() - start;
            };
        }
    }

    /** 784-512-512-10 on a batch of 128, plain gradient descent. */
    private static final class Step {
        private final List<Variable> parameters = new ArrayList<>();
        private final Tensor x = KernelCase.randn(1, DType.F32, 128, 784);
        private final Tensor y = Tensor.of(Workload.MLP.labels(128), 128);
        private Tensor loss;

        Step() {
            for (int i = 0; i < Workload.MLP.shapes.length; i++) {
                parameters.add(new Variable("p" + i, Tensor.of(Workload.MLP.parameter(i), Workload.MLP.shapes[i]), true));
            }
        }

        void record() {
            Tensor h = x;
            for (int i = 0; i < parameters.size(); i += 2) {
                h = Functional.linear(i == 0 ? h : h.relu(), parameters.get(i).value(), parameters.get(i + 1).value());
            }
            loss = Functional.crossEntropy(h, y, -100, 0).mean();
            Gradients gradients = loss.backward();
            for (Variable p : parameters) {
                p.set(p.value().sub(gradients.get(p).mul(0.01)));
            }
        }

        void evaluate() {
            Variable.settle(parameters);
            loss.close();
        }

        /** Microseconds of processor time a step, of the recording or of the evaluation, over steps that nobody waits for. */
        double times(int steps, boolean recording) {
            var threads = ManagementFactory.getThreadMXBean();
            long sum = 0;
            for (int i = 0; i < steps; i++) {
                long start = threads.getCurrentThreadCpuTime();
                record();
                long middle = threads.getCurrentThreadCpuTime();
                evaluate();
                sum += recording ? middle - start : threads.getCurrentThreadCpuTime() - middle;
            }
            parameters.getLast().value().toFloatArray();
            return sum / 1e3 / steps;
        }
    }
}
