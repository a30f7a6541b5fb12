// Switches and views for people who want to know what the engine does.
package dev.heddle.engine;

import dev.heddle.engine.memory.Buffer;
import dev.heddle.engine.memory.DeviceMemory;
import dev.heddle.engine.plan.Plan;

/**
 * Debugging switches, with the system properties that set them at start. Results with and without them are the same; on CUDA,
 * but for the order in which floats are summed.
 */
public final class Debug {
    private static volatile boolean eager = Boolean.getBoolean("heddle.eager");
    private static volatile boolean checkNaN = "nan".equals(System.getProperty("heddle.check"));
    private static volatile boolean fusion = !"false".equals(System.getProperty("heddle.fusion"));

    private static volatile boolean profile = Boolean.getBoolean("heddle.profile");
    private static volatile boolean trace = Boolean.getBoolean("heddle.trace");

    private Debug() {}

    /** Whether recorded operations remember the line of user code that made them ({@code -Dheddle.trace=true}). */
    public static boolean trace() {
        return trace;
    }

    /** Switches the remembering of lines on or off; {@link #memorySnapshot} then names them. */
    public static void trace(boolean on) {
        trace = on;
    }

    /** How much of a device's memory is in use. */
    public static DeviceMemory.Statistics memory(Device device) {
        return Runtime.of(device).memory().statistics();
    }

    /**
     * What uses a device's memory: bytes by owner, the largest first. With {@link #trace} an owner is a line of user code,
     * otherwise the operation and the shape.
     */
    public static String memorySnapshot(Device device) {
        DeviceMemory memory = Runtime.of(device).memory();
        return memory.name() + ": " + memory.statistics() + Buffer.usage(memory);
    }

    /** Whether plans note the time of each step ({@code -Dheddle.profile=true}); a printed plan then shows it. */
    public static boolean profile() {
        return profile;
    }

    /** Switches profiling on or off. */
    public static void profile(boolean on) {
        profile = on;
    }

    /** Whether every operation is evaluated as it is recorded ({@code -Dheddle.eager=true}). */
    public static boolean eager() {
        return eager;
    }

    /** Switches eager evaluation on or off. */
    public static void eager(boolean on) {
        eager = on;
    }

    /** Whether evaluation stops at the first operation that made a NaN or infinity ({@code -Dheddle.check=nan}). */
    public static boolean checkNaN() {
        return checkNaN;
    }

    /** Switches the check for NaN and infinity on or off; operations are then run one by one. */
    public static void checkNaN(boolean on) {
        checkNaN = on;
    }

    /** Whether plans fuse operations ({@code -Dheddle.fusion=false} switches it off). */
    public static boolean fusion() {
        return fusion;
    }

    /** Switches fusion on or off. */
    public static void fusion(boolean on) {
        fusion = on;
    }

    /** The plan that the last evaluation ran, on any thread, or null; print it to see what ran. */
    public static Plan lastPlan() {
        return Evaluation.lastPlan();
    }

    /** Number of plans compiled since the start: constant while a training loop is in its steady state. */
    public static long plansCompiled() {
        return Evaluation.plansCompiled();
    }
}
