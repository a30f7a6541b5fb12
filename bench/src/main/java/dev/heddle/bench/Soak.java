// Ten thousand steps: does memory stay where it is?
package dev.heddle.bench;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Device;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.layers.BatchNorm2d;
import dev.heddle.layers.Conv2d;
import dev.heddle.layers.Dropout;
import dev.heddle.layers.Flatten;
import dev.heddle.layers.Init;
import dev.heddle.layers.Linear;
import dev.heddle.layers.ReLU;
import dev.heddle.layers.Sequential;
import dev.heddle.training.Adam;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** {@code Soak [steps]}: trains a small network, prints resident memory, a GPU's too, and fails if it grows once warm. */
public final class Soak {
    private static final long BOUND = 64L << 20; // the JIT and the collector still move a little

    private Soak() {}

    /** Runs. */
    public static void main(String[] arguments) throws IOException {
        int steps = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 10_000;
        Init.seed(1);
        var model = new Sequential(new Conv2d(1, 8, 3), new BatchNorm2d(8), new ReLU(), new Dropout(0.2), new Flatten(), new Linear(8 * 100, 10));
        Optimizer optimizer = Adam.of(model.parameters()).build();
        Generator generator = new Generator(2);
        float[] images = generator.randn(32, 1, 12, 12).toFloatArray();
        long[] labels = generator.randint(0, 10, 32).toLongArray();
        GpuInfo gpu = Device.current().type() == Device.Type.CUDA ? new GpuInfo() : null;
        long warm = 0;
        long warmOnGpu = 0;
        long plans = 0;
        long allocations = 0;
        for (int step = 1; step <= steps; step++) {
            Tensor x = Tensor.of(images, 32, 1, 12, 12);
            Tensor y = Tensor.of(labels, 32);
            Tensor loss = Losses.crossEntropy(model.forward(x), y);
            optimizer.step(loss.backward());
            if (step % Math.max(1, steps / 10) == 0) {
                System.out.printf("step %d: loss %.4f, resident %d MiB, on the GPU %d MiB, %d plans, %d native allocations%n", step, loss.item(),
                        resident() >> 20, usedOn(gpu) >> 20, Debug.plansCompiled(), NativeMemory.nativeAllocations());
                if (warm == 0 && step >= steps / 5) {
                    warm = resident();
                    warmOnGpu = usedOn(gpu);
                    plans = Debug.plansCompiled();
                    allocations = NativeMemory.nativeAllocations();
                }
            }
            loss.close(); // as a DataLoader does with its batches
            x.close();
            y.close();
        }
        long onGpu = usedOn(gpu) - warmOnGpu;
        boolean flat = resident() - warm < BOUND && onGpu <= 0 && plans == Debug.plansCompiled();
        System.out.printf("%s: %+d MiB, on the GPU %+d bytes, %d plans and %d native allocations since step %d%n", flat ? "flat" : "GREW",
                resident() - warm >> 20, onGpu, Debug.plansCompiled() - plans, NativeMemory.nativeAllocations() - allocations, steps / 5);
        System.exit(flat ? 0 : 1);
    }

    /** Bytes in use on a GPU, by the driver's count; 0 without one. */
    private static long usedOn(GpuInfo gpu) {
        return gpu == null ? 0 : gpu.memory(true) - gpu.memory(false);
    }

    private static long resident() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/status")).stream().filter(l -> l.startsWith("VmRSS"))
                .mapToLong(l -> 1024 * Long.parseLong(l.replaceAll("\\D", ""))).findFirst().orElse(-1);
    }
}
