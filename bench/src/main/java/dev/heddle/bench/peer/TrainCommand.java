// heddle bench train
package dev.heddle.bench.peer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.Results;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Trains the {@link Workload}s in Heddle and in its peers, on the CPU. */
@Command(name = "train", mixinStandardHelpOptions = true, sortOptions = false, description = "Training beside libtorch and DJL: the same models, weights and data, in turns, each library at its fastest setting.")
public final class TrainCommand implements Callable<Integer> {
    /** What Heddle is compared with. */
    enum Peer { LIBTORCH, DJL, NONE }

    /** In what the models compute. */
    enum Precision { F32, BF16 }

    @Spec
    private CommandSpec spec;

    @Option(names = "--workloads", split = ",", defaultValue = "mlp,cnn,resnet18,lstm,gpt", paramLabel = "NAME",
            description = "Of ${COMPLETION-CANDIDATES}, separated by commas; default: all.")
    private Set<Workload> workloads = new LinkedHashSet<>();

    @Option(names = "--peers", split = ",", defaultValue = "libtorch,djl", paramLabel = "NAME",
            description = "Of ${COMPLETION-CANDIDATES}, separated by commas; default: ${DEFAULT-VALUE}.")
    private Set<Peer> peers = new LinkedHashSet<>();

    @Option(names = "--precision", defaultValue = "f32",
            description = "${COMPLETION-CANDIDATES}; bf16: gpt beside libtorch's autocast and both in f32; default: ${DEFAULT-VALUE}.")
    private Precision precision;

    @Option(names = "--rounds", defaultValue = "7", paramLabel = "N", description = "Turns of each side; default: ${DEFAULT-VALUE}.")
    private int rounds;

    @Option(names = "--seconds", defaultValue = "3", paramLabel = "S", description = "Length of a turn; default: ${DEFAULT-VALUE}.")
    private double seconds;

    @Option(names = "--json", paramLabel = "FILE", description = "Where to write the result.")
    private Path json;

    /** Options come from the command line. */
    public TrainCommand() {}

    @Override
    public Integer call() throws IOException {
        require(rounds > 0, "--rounds " + rounds + ": must be positive");
        require(seconds > 0 && Double.isFinite(seconds), "--seconds " + seconds + ": must be positive");
        require(!peers.contains(Peer.NONE) || peers.size() == 1, "--peers: none stands alone");
        require(precision == Precision.F32 || workloads.equals(Set.of(Workload.GPT)), "--precision bf16: only --workloads gpt has it");
        require(!peers.contains(Peer.DJL) || getClass().getResource("/native/lib/pytorch.properties") != null,
                "--peers djl: its libraries are not on the class path; start by the heddle script, which builds with the profile peers");
        return measure() ? 0 : 1;
    }

    private void require(boolean condition, String message) {
        if (!condition) {
            throw new ParameterException(spec.commandLine(), message);
        }
    }

    /** Whether no side was left out. */
    private boolean measure() throws IOException {
        PrintWriter progress = spec.commandLine().getErr();
        ObjectNode report = Results.begin("train").put("rounds", rounds).put("seconds", seconds);
        ObjectNode versions = report.putObject("peers");
        if (peers.contains(Peer.LIBTORCH)) {
            versions.put("libtorch", jar("org.bytedeco.pytorch.Tensor") + (Mkl.preload() == null ? ", no MKL on the class path" : ""));
        }
        if (peers.contains(Peer.DJL)) {
            versions.put("djl", jar("ai.djl.pytorch.engine.PtEngine") + (precision == Precision.BF16 ? ", which has no autocast: left out" : ""));
        }
        ObjectNode results = report.putObject("workloads");
        Comparison comparison = new Comparison(rounds, seconds, progress);
        boolean complete = true;
        try {
            for (Workload workload : workloads) {
                complete &= comparison.run(workload, sides(), results.putObject(workload.name().toLowerCase(Locale.ROOT)));
                if (json != null) {
                    Results.write(json, report); // what is known so far
                }
            }
        } finally {
            spec.commandLine().getOut().print(table(results));
            spec.commandLine().getOut().flush();
        }
        return complete;
    }

    /** Heddle first. */
    private List<Comparison.Side> sides() {
        List<Comparison.Side> sides = new ArrayList<>();
        String name = precision.name().toLowerCase(Locale.ROOT);
        sides.add(new Comparison.Side("heddle", "heddle", name));
        if (precision == Precision.BF16) {
            sides.add(new Comparison.Side("heddle_f32", "heddle", "f32"));
        }
        if (peers.contains(Peer.LIBTORCH)) {
            sides.add(new Comparison.Side("libtorch", "libtorch", name));
            if (precision == Precision.BF16) { // which may be faster
                sides.add(new Comparison.Side("libtorch_f32", "libtorch", "f32"));
            }
        }
        if (peers.contains(Peer.DJL) && precision == Precision.F32) {
            sides.add(new Comparison.Side("djl", "djl", name));
        }
        return sides;
    }

    /** The name of the jar a class comes from, which has its version. */
    private static String jar(String className) throws IOException {
        try {
            Class<?> found = Class.forName(className, false, TrainCommand.class.getClassLoader());
            return Path.of(found.getProtectionDomain().getCodeSource().getLocation().getPath()).getFileName().toString().replaceAll("\\.jar$", "");
        } catch (ClassNotFoundException e) {
            throw new IOException(e);
        }
    }

    /** A line for each side of each workload: samples a second, Heddle's ratio to it, peak memory, setting; then the geometric means. */
    static String table(JsonNode results) {
        String line = "%-10s %-11s %14s %8s %9s   %s%n";
        StringBuilder text = new StringBuilder(line.formatted("workload", "library", "per second", "ratio", "peak MB", "setting"));
        Map<String, Double> logarithms = new TreeMap<>();
        Map<String, Integer> counts = new TreeMap<>();
        results.properties().forEach(workload -> workload.getValue().properties().forEach(entry -> {
            JsonNode side = entry.getValue();
            if (side.has("peak_bytes")) {
                JsonNode ratio = workload.getValue().path("ratio_" + entry.getKey()).path("median");
                text.append(line.formatted(workload.getKey(), entry.getKey(), "%,.0f %s".formatted(side.get("median").asDouble(), workload.getValue().get("sample").asText()),
                        ratio.isMissingNode() ? "" : "%.2f".formatted(ratio.asDouble()), side.get("peak_bytes").asLong() / 1_000_000, side.get("setting").asText()));
                if (!ratio.isMissingNode()) {
                    logarithms.merge(entry.getKey(), Math.log(ratio.asDouble()), Double::sum);
                    counts.merge(entry.getKey(), 1, Integer::sum);
                }
            }
        }));
        logarithms.forEach((name, sum) -> text.append("Heddle / %s, geometric mean of %d: %.2f%n".formatted(name, counts.get(name), Math.exp(sum / counts.get(name)))));
        return text.toString();
    }
}
