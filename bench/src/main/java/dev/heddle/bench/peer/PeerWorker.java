// The part of a comparison that runs in a process of its own, told what to do through its standard input.
package dev.heddle.bench.peer;

import dev.heddle.bench.ChildJvm;
import dev.heddle.engine.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * {@code PeerWorker heddle|libtorch|djl WORKLOAD f32|bf16}. Commands: {@code check N} gives the losses of N steps without dropout
 * from the initial weights; {@code run S} trains for S seconds and gives steps a second; {@code memory} gives the peak resident
 * bytes; end of input ends it.
 */
public final class PeerWorker {
    private PeerWorker() {}

    /** One side of the comparison. */
    interface Side {
        /** One step on the batch; returns its loss. */
        double step(boolean dropout);
    }

    /** Serves commands until its input ends. */
    public static void main(String[] arguments) throws IOException {
        Workload workload = Workload.valueOf(arguments[1]);
        boolean bf16 = arguments[2].equals("bf16");
        Side side = switch (arguments[0]) {
            case "heddle" -> new HeddleSide(workload, workload.batch, bf16 ? DType.BF16 : DType.F32);
            case "libtorch" -> new LibTorchSide(workload, workload.batch, bf16);
            case "djl" -> new DjlSide(workload);
            default -> throw new IllegalArgumentException(arguments[0]);
        };
        ChildJvm.serve(line -> {
            String[] words = line.split(" ");
            return switch (words[0]) {
                case "check" -> Stream.generate(() -> side.step(false)).limit(Integer.parseInt(words[1])).map(String::valueOf).collect(Collectors.joining(" "));
                case "run" -> Double.toString(stepsPerSecond(side, Double.parseDouble(words[1])));
                case "memory" -> Long.toString(peakBytes());
                default -> throw new IllegalArgumentException(line);
            };
        });
    }

    private static double stepsPerSecond(Side side, double seconds) {
        long start = System.nanoTime();
        long end = start + (long) (seconds * 1e9);
        long steps = 0;
        while (System.nanoTime() < end) {
            side.step(true);
            steps++;
        }
        return steps / ((System.nanoTime() - start) / 1e9);
    }

    private static long peakBytes() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/status")).stream().filter(l -> l.startsWith("VmHWM"))
                .mapToLong(l -> 1024 * Long.parseLong(l.replaceAll("\\D", ""))).findFirst().orElse(-1);
    }
}
