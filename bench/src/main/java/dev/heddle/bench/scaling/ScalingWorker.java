// One measurement of scaling, in a JVM of its own: no plans, compiled code or memory of an earlier one.
package dev.heddle.bench.scaling;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.layers.Layer;
import dev.heddle.training.Optimizer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.DoubleSupplier;

/**
 * {@code ScalingWorker step SECONDS SIZES} prints milliseconds of a step (median and least) and the most device memory in use at once;
 * {@code startup SIZES} prints {@code main} when it begins, {@code first} after a training step and {@code second} after another;
 * {@code miss COUNT SIZES} prints the median milliseconds of a step whose plan is there, and of one whose batch size is new.
 */
public final class ScalingWorker {
    private static final int LEAST_STEPS = 5;

    private ScalingWorker() {}

    /** Measures and prints. */
    public static void main(String[] arguments) {
        switch (arguments[0]) {
            case "step" -> step(Double.parseDouble(arguments[1]), Sizes.parse(arguments, 2));
            case "startup" -> startup(Sizes.parse(arguments, 1));
            case "miss" -> miss(Integer.parseInt(arguments[1]), Sizes.parse(arguments, 2));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void step(double seconds, Sizes sizes) {
        Layer network = sizes.network();
        DoubleSupplier step = sizes.step(network, Sizes.optimizer(network));
        times(step, 2 * seconds); // until the JIT is done
        List<Double> times = times(step, seconds);
        System.out.println(median(times) + " " + Collections.min(times) + " " + Debug.memory(Device.current()).peak());
    }

    private static void startup(Sizes sizes) {
        System.out.println("main");
        Layer network = sizes.network();
        DoubleSupplier step = sizes.step(network, Sizes.optimizer(network));
        step.getAsDouble();
        System.out.println("first");
        step.getAsDouble();
        System.out.println("second");
    }

    private static void miss(int count, Sizes sizes) {
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
        System.out.println(median(hits) + " " + median(misses));
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
        List<Double> sorted = values.stream().sorted().toList();
        return sorted.get(sorted.size() / 2);
    }
}
