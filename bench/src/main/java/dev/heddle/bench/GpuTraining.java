// Training steps on a GPU: how fast, at what cost to the host, and whether they give the same bits twice.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.peer.HeddleSide;
import dev.heddle.bench.peer.Workload;
import dev.heddle.engine.DType;
import dev.heddle.engine.Device;
import dev.heddle.engine.Tensor;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * {@code GpuTraining bench OUT.json FOLDER quick|full}: the {@link Workload}s at batch 128. Their initial weights and data go to
 * {@code FOLDER/NAME.f32} and the losses of the first 20 steps, without dropout, into the report, so that
 * {@code gpu/peers/training.py} can prove that it trains the same. Then training steps are timed, with the loss read every 50
 * steps, and with the loss read in every step.
 *
 * <p>{@code GpuTraining bits OUT.json STEPS}: trains the CNN twice with dropout and compares the bits of all losses.
 */
public final class GpuTraining {
    private static final int BATCH = 128;
    private static final int QUICK_BATCH = 4;
    private static final int CHECKED_STEPS = 20;
    private static final int UNREAD = 50;

    private GpuTraining() {}

    /** Runs. */
    public static void main(String[] arguments) throws IOException {
        Device.use(Device.parse("cuda"));
        ObjectNode json = new ObjectMapper().createObjectNode();
        boolean good = true;
        if (arguments[0].equals("bits")) {
            good = bits(Integer.parseInt(arguments[2]), json);
        } else {
            boolean quick = arguments[3].equals("quick");
            for (Workload workload : List.of(Workload.MLP, Workload.CNN)) { // what training.py has
                if (!quick || workload == Workload.MLP) {
                    measure(workload, Path.of(arguments[2]), quick, json.putObject(workload.name().toLowerCase(Locale.ROOT)));
                    Files.writeString(Path.of(arguments[1]), json.toPrettyString() + "\n");
                }
            }
        }
        System.out.println(json.toPrettyString());
        Files.writeString(Path.of(arguments[1]), json.toPrettyString() + "\n");
        System.exit(good ? 0 : 1);
    }

    private static boolean bits(int steps, ObjectNode json) {
        double[][] losses = new double[2][steps];
        for (double[] run : losses) {
            HeddleSide side = new HeddleSide(Workload.CNN, steps < 50 ? QUICK_BATCH : BATCH, DType.F32);
            Arrays.setAll(run, i -> side.step(true));
        }
        int first = Arrays.mismatch(losses[0], losses[1]); // compares bits
        boolean finite = Arrays.stream(losses[0]).allMatch(Double::isFinite);
        json.put("steps", steps).put("first_difference", first).put("finite", finite).put("last_loss", losses[0][steps - 1])
                .put("hash", Integer.toHexString(Arrays.hashCode(losses[0])));
        return first < 0 && finite;
    }

    private static void measure(Workload workload, Path folder, boolean quick, ObjectNode json) throws IOException {
        int batch = quick ? QUICK_BATCH : BATCH;
        write(workload, batch, folder.resolve(workload.name().toLowerCase(Locale.ROOT) + ".f32"));
        json.put("batch", batch).putPOJO("labels", workload.labels(batch));
        json.putPOJO("shapes", workload.shapes);
        HeddleSide side = new HeddleSide(workload, batch, DType.F32);
        double[] losses = new double[quick ? 3 : CHECKED_STEPS];
        Arrays.setAll(losses, i -> side.step(false));
        json.putPOJO("losses", losses);

        double seconds = quick ? 0.02 : 1;
        int rounds = quick ? 2 : 3;
        run(side, true, 3 * seconds); // warm-up: compiles, captures, lets the JIT finish
        run(side, false, 3 * seconds);
        put(json, "steps_per_second", rounds, () -> run(side, true, seconds));
        put(json, "steps_per_second_loss_read", rounds, () -> run(side, false, seconds));
        put(json, "host_cpu_us_per_step", quick ? 2 : 21, () -> hostMicros(side, quick ? 2 : UNREAD));
    }

    private static double run(HeddleSide side, boolean unread, double seconds) {
        long start = System.nanoTime();
        long end = start + (long) (seconds * 1e9);
        int steps = 0;
        while (System.nanoTime() < end) {
            if (unread) {
                for (int i = 1; i < UNREAD; i++) {
                    side.train(true).close();
                    steps++;
                }
            }
            side.step(true);
            steps++;
        }
        return steps / ((System.nanoTime() - start) / 1e9);
    }

    /** Processor time of the thread that trains, from the first record to the last launch, while the GPU has nothing else to do. */
    private static double hostMicros(HeddleSide side, int steps) {
        side.step(true);
        var threads = ManagementFactory.getThreadMXBean();
        long start = threads.getCurrentThreadCpuTime();
        Tensor loss = null;
        for (int i = 0; i < steps; i++) {
            if (loss != null) {
                loss.close();
            }
            loss = side.train(true);
        }
        double micros = (threads.getCurrentThreadCpuTime() - start) / 1e3 / steps;
        loss.item();
        loss.close();
        return micros;
    }

    private static void put(ObjectNode json, String name, int rounds, java.util.function.DoubleSupplier measurement) {
        double[] values = new double[rounds];
        Arrays.setAll(values, i -> measurement.getAsDouble());
        Arrays.sort(values);
        json.putObject(name).put("median", values[rounds / 2]).put("min", values[0]).put("max", values[rounds - 1]);
    }

    /** Parameters, then inputs, as 32-bit floats. */
    private static void write(Workload workload, int batch, Path file) throws IOException {
        float[][] parts = new float[workload.shapes.length + 1][];
        int count = 0;
        for (int i = 0; i < parts.length; i++) {
            parts[i] = i < workload.shapes.length ? workload.parameter(i) : workload.inputs(batch);
            count += parts[i].length;
        }
        ByteBuffer bytes = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        for (float[] part : parts) {
            bytes.asFloatBuffer().put(part);
            bytes.position(bytes.position() + 4 * part.length);
        }
        Files.write(file, bytes.array());
    }
}
