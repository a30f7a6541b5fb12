// The part of a comparison that runs in a process of its own, told what to do through its standard input.
package dev.heddle.bench.peer;

import dev.heddle.engine.DType;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * {@code PeerWorker heddle|libtorch|djl WORKLOAD f32|bf16}. Commands: {@code check N} prints the losses of N steps without dropout
 * from the initial weights; {@code run S} trains for S seconds and prints steps a second; {@code memory} prints the peak resident
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
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String line; (line = in.readLine()) != null;) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "check" -> {
                    StringBuilder losses = new StringBuilder();
                    for (int i = 0; i < Integer.parseInt(words[1]); i++) {
                        losses.append(i == 0 ? "" : " ").append(side.step(false));
                    }
                    System.out.println(losses);
                }
                case "run" -> {
                    long end = System.nanoTime() + (long) (Double.parseDouble(words[1]) * 1e9);
                    long start = System.nanoTime();
                    long steps = 0;
                    while (System.nanoTime() < end) {
                        side.step(true);
                        steps++;
                    }
                    System.out.println(steps / ((System.nanoTime() - start) / 1e9));
                }
                case "memory" -> System.out.println(peakBytes());
                default -> throw new IllegalArgumentException(line);
            }
        }
    }

    private static long peakBytes() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/status")).stream().filter(l -> l.startsWith("VmHWM"))
                .mapToLong(l -> 1024 * Long.parseLong(l.replaceAll("\\D", ""))).findFirst().orElse(-1);
    }
}
