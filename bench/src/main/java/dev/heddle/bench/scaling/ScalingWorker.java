// What scaling measures, in a JVM of its own: no plans, compiled code or memory of an earlier measurement.
package dev.heddle.bench.scaling;

import dev.heddle.bench.ChildJvm;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.layers.Layer;
import dev.heddle.training.Optimizer;
import java.io.IOException;
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleSupplier;
import java.util.stream.Collectors;

/**
 * {@code ScalingWorker SIZES}. Commands: {@code step} makes a training step; {@code memory} gives the most device memory that was in use at
 * once; {@code warm AXIS VALUE BATCH LEAST MOST} runs steps of another size until they settle and gives whether they did and the seconds,
 * the seconds of a batch, the least and the most of all given; {@code time AXIS VALUE SECONDS} gives the milliseconds of each step, in that
 * time; {@code miss COUNT} gives the median milliseconds of a step whose plan is there, and of one whose batch size is new.
 */
public final class ScalingWorker {
    private static final int LEAST_STEPS = 5;

    private final Sizes sizes;
    private final Map<Sizes, DoubleSupplier> steps = new HashMap<>();

    private ScalingWorker(Sizes sizes) {
        this.sizes = sizes;
    }

    /** Serves commands until its input ends. */
    public static void main(String[] arguments) throws IOException {
        ChildJvm.serve(new ScalingWorker(Sizes.parse(arguments, 0))::answer);
    }

    private String answer(String command) {
        String[] words = command.split(" ");
        return switch (words[0]) {
            case "step" -> Double.toString(time(step(sizes)));
            case "memory" -> Long.toString(Debug.memory(Device.current()).peak());
            case "warm" -> warm(step(sizes.with(words[1], Integer.parseInt(words[2]))), Double.parseDouble(words[3]),
                    new Settling(Double.parseDouble(words[4]), Double.parseDouble(words[5])));
            case "time" -> times(step(sizes.with(words[1], Integer.parseInt(words[2]))), Double.parseDouble(words[3])).stream()
                    .map(String::valueOf).collect(Collectors.joining(" "));
            case "miss" -> miss(Integer.parseInt(words[1]));
            default -> throw new IllegalArgumentException(command);
        };
    }

    /** The step of a network of some sizes, always of the same one. */
    private DoubleSupplier step(Sizes sizes) {
        return steps.computeIfAbsent(sizes, s -> {
            Layer network = s.network();
            return s.step(network, Sizes.optimizer(network));
        });
    }

    private static String warm(DoubleSupplier step, double batchSeconds, Settling settling) {
        do {
            double compiled = compiled();
            long start = System.nanoTime();
            List<Double> times = times(step, batchSeconds);
            settling.add(new Settling.Batch((System.nanoTime() - start) / 1e9, median(times), compiled() - compiled));
        } while (!settling.over());
        return settling.settled() + " " + settling.seconds();
    }

    /** Seconds that the JIT has worked. */
    private static double compiled() {
        CompilationMXBean jit = ManagementFactory.getCompilationMXBean();
        return jit == null || !jit.isCompilationTimeMonitoringSupported() ? 0 : jit.getTotalCompilationTime() / 1e3; // null for an interpreter
    }

    private String miss(int count) {
        Layer network = sizes.network();
        Optimizer optimizer = Sizes.optimizer(network);
        DoubleSupplier known = sizes.step(network, optimizer);
        times(known, 1);
        List<Double> hits = new ArrayList<>();
        List<Double> misses = new ArrayList<>();
        for (int i = 1; i <= count; i++) {
            DoubleSupplier unknown = sizes.with("batch", sizes.batch() + i).step(network, optimizer);
            long plans = Debug.plansCompiled();
            hits.add(time(known));
            if (Debug.plansCompiled() != plans) {
                throw new IllegalStateException("scaling: a step that was run before compiled a plan");
            }
            misses.add(time(unknown));
            if (Debug.plansCompiled() == plans) {
                throw new IllegalStateException("scaling: a step of a new shape compiled no plan");
            }
        }
        return median(hits) + " " + median(misses);
    }

    private static List<Double> times(DoubleSupplier step, double seconds) {
        List<Double> times = new ArrayList<>();
        long end = System.nanoTime() + (long) (seconds * 1e9);
        while (times.size() < LEAST_STEPS || System.nanoTime() < end) {
            times.add(time(step));
        }
        return times;
    }

    /** Milliseconds. */
    private static double time(DoubleSupplier step) {
        long start = System.nanoTime();
        step.getAsDouble();
        return (System.nanoTime() - start) / 1e6;
    }

    /** The middle one. */
    static double median(List<Double> values) {
        return quantile(values, 0.5);
    }

    /** The value that a part of all lie below, such as 0.25. */
    static double quantile(List<Double> values, double part) {
        return values.stream().sorted().toList().get((int) (part * (values.size() - 1) + 0.5));
    }
}
