// The same training in several libraries, in turns.
package dev.heddle.bench.peer;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/**
 * Each side runs in a process of its own, at the fastest of its settings. All first prove that they compute the same: their losses
 * over 20 steps from the same weights on the same data agree with the first's; one whose losses do not is left out. Then they train in
 * turns; a round during which other processes used more than 5% of a core is run again, ten times at most.
 */
final class Comparison {
    static final int CHECKED_STEPS = 20;
    private static final int MAX_REPEATS = 10;

    private final int rounds;
    private final double seconds;
    private final PrintWriter progress;

    Comparison(int rounds, double seconds, PrintWriter progress) {
        this.rounds = rounds;
        this.seconds = seconds;
        this.progress = progress;
    }

    /** A library with a precision, such as {@code libtorch} in {@code bf16}, and its name in the report. */
    record Side(String name, String library, String precision) {}

    /** Compares the first side with the others and puts the numbers into the report; whether no side was left out. */
    boolean run(Workload workload, List<Side> all, ObjectNode report) throws IOException {
        List<Side> sides = new ArrayList<>(all);
        List<Setting> settings = new ArrayList<>();
        for (Side side : sides) {
            settings.add(best(side, workload));
        }
        List<Worker> workers = new ArrayList<>();
        try {
            for (int i = 0; i < sides.size(); i++) {
                workers.add(new Worker(sides.get(i).library(), workload, sides.get(i).precision(), settings.get(i)));
            }
            double[] losses = workers.getFirst().losses(CHECKED_STEPS);
            for (int i = sides.size() - 1; i > 0; i--) {
                String difference = difference(workload, sides.getFirst(), losses, sides.get(i), workers.get(i).losses(CHECKED_STEPS));
                if (difference != null) {
                    progress.println(workload + ": " + difference + ", left out");
                    report.withObject("/left_out").put(sides.remove(i).name(), difference);
                    settings.remove(i);
                    workers.remove(i).close();
                }
            }
            progress.println(workload + ": losses agree; warming up, then " + rounds + " rounds");
            for (Worker worker : workers) {
                worker.run(3 * seconds);
            }
            double[][] speeds = new double[sides.size()][rounds];
            int disturbed = 0;
            for (int round = 0; round < rounds; round++) {
                long others = busyTicks() - ownTicks(workers);
                for (int i = 0; i < workers.size(); i++) {
                    speeds[i][round] = workload.samples() * workers.get(i).run(seconds);
                }
                others = busyTicks() - ownTicks(workers) - others;
                if (others > 0.05 * 100 * sides.size() * seconds && disturbed < MAX_REPEATS) {
                    disturbed++;
                    round--;
                }
            }
            report.put("description", workload.description).put("batch", workload.batch).put("sample", workload.positions > 0 ? "tokens" : "images").put("precision", sides.getFirst().precision());
            for (int i = 0; i < sides.size(); i++) {
                ObjectNode side = report.putObject(sides.get(i).name());
                put(side, speeds[i]);
                side.put("peak_bytes", workers.get(i).peakBytes()).put("setting", settings.get(i).name());
            }
            for (int i = 1; i < sides.size(); i++) {
                double[] theirs = speeds[i];
                double[] ratios = new double[rounds];
                Arrays.setAll(ratios, round -> speeds[0][round] / theirs[round]);
                put(report.putObject("ratio_" + sides.get(i).name()), ratios);
            }
            if (sides.size() > 1) {
                report.put("losses_agree_steps", CHECKED_STEPS);
            }
            report.put("disturbed_rounds_repeated", disturbed);
            return sides.size() == all.size();
        } finally {
            for (Worker worker : workers) {
                worker.close();
            }
        }
    }

    private Setting best(Side side, Workload workload) throws IOException {
        List<Setting> candidates = Setting.candidates(side.library());
        Setting best = candidates.getFirst();
        double fastest = 0;
        for (Setting candidate : candidates.size() == 1 ? List.<Setting>of() : candidates) {
            try (Worker worker = new Worker(side.library(), workload, side.precision(), candidate)) {
                worker.run(seconds);
                double speed = worker.run(seconds) * workload.samples();
                progress.printf("%s: %s with %s: %.0f a second%n", workload, side.name(), candidate.name(), speed);
                if (speed > fastest) {
                    fastest = speed;
                    best = candidate;
                }
            }
        }
        return best;
    }

    /** Relative to the loss: rounding grows over the steps, the most by Adam, which divides by small roots, and in 16 bits. */
    static double tolerance(Workload workload, Side side) {
        return side.precision().equals("bf16") ? 3e-2 : side.library().equals("djl") && workload != Workload.MLP ? 2e-2
                : workload == Workload.MLP ? 1e-3 : workload == Workload.RESNET18 ? 2e-2 : 5e-3;
    }

    /** What is wrong with the losses of a side beside those of the first, or null. */
    static String difference(Workload workload, Side first, double[] ours, Side side, double[] theirs) {
        double tolerance = Math.max(tolerance(workload, first), tolerance(workload, side));
        for (int step = 0; step < ours.length; step++) {
            if (!(Math.abs(ours[step] - theirs[step]) <= tolerance * Math.max(0.1, Math.abs(theirs[step])))) {
                return "the losses of " + first.name() + " and " + side.name() + " differ in step " + step + ": " + ours[step] + " and " + theirs[step];
            }
        }
        return null;
    }

    private static void put(ObjectNode json, double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        json.put("median", sorted[sorted.length / 2]).put("min", sorted[0]).put("max", sorted[sorted.length - 1]);
    }

    /** Ticks (10 ms) all processes have computed. */
    private static long busyTicks() throws IOException {
        String[] fields = Files.readAllLines(Path.of("/proc/stat")).getFirst().trim().split(" +");
        return Stream.of(1, 2, 3, 6, 7).mapToLong(i -> Long.parseLong(fields[i])).sum();
    }

    private static long ownTicks(List<Worker> workers) throws IOException {
        long sum = 0;
        for (Worker worker : workers) {
            sum += worker.ticks();
        }
        return sum;
    }
}
