// heddle bench guard
package dev.heddle.bench.guard;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.heddle.bench.peer.TrainCommand;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Supplier;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** No absolute times: each ratio is of two things that run in turns on the same machine. */
@Command(name = "guard", mixinStandardHelpOptions = true, description = {"Whether a few ratios still hold: fused over unfused, Heddle over libtorch.",
        "Exit status 1 if not; about a minute."})
public final class GuardCommand implements Callable<Integer> {
    private static final int ROUNDS = 9;
    private static final double SECONDS = 0.15;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        return run(checks(), spec.commandLine().getOut());
    }

    /** Runs all checks, also behind one that fails; 0 if all hold. */
    static int run(List<Check> checks, PrintWriter out) throws IOException {
        int failed = 0;
        for (Check check : checks) {
            failed += check.holds(out) ? 0 : 1;
        }
        out.println(failed == 0 ? "guard: all " + checks.size() + " ratios hold" : "guard: " + failed + " of " + checks.size() + " ratios are too low");
        out.flush();
        return failed == 0 ? 0 : 1;
    }

    private static List<Check> checks() {
        Generator generator = new Generator(1);
        Tensor x = generator.randn(4096, 1024).eval();
        Tensor y = generator.randn(4096, 1024).eval();
        Tensor row = generator.randn(1024).eval();
        return List.of(
                new Check("7 elementwise operations, fused over unfused", 1.5, () -> fusedOverUnfused(() -> {
                    Tensor h = x.add(row);
                    return h.mul(h.sigmoid()).mul(y).mul(0.5).add(x).clamp(-10, 10);
                })),
                new Check("layer norm, fused over unfused", 1.2, () -> fusedOverUnfused(() -> Functional.layerNorm(x, row, row, 1e-5))),
                new Check("training the MLP, Heddle over libtorch", 0.5, () -> heddleOverLibtorch("mlp")),
                new Check("training the CNN, Heddle over libtorch", 0.5, () -> heddleOverLibtorch("cnn")));
    }

    private static double fusedOverUnfused(Supplier<Tensor> work) {
        boolean fusion = Debug.fusion();
        try {
            return Check.ratioOfTimes(() -> run(work, false), () -> run(work, true), ROUNDS, SECONDS, System::nanoTime);
        } finally {
            Debug.fusion(fusion);
        }
    }

    private static void run(Supplier<Tensor> work, boolean fusion) {
        Debug.fusion(fusion);
        work.get().eval().close();
    }

    /** The median ratio of steps a second, each side in a process of its own, after both have computed the same losses. */
    private static double heddleOverLibtorch(String workload) throws IOException {
        Path file = Files.createTempFile("heddle-guard", ".json");
        try {
            int status = new CommandLine(new TrainCommand()).setCaseInsensitiveEnumValuesAllowed(true).execute("--workloads", workload, "--peers", "libtorch",
                    "--rounds", "5", "--seconds", "0.5", "--json", file.toString());
            if (status != 0) {
                throw new IOException("guard: training " + workload + " beside libtorch ended with status " + status);
            }
            JsonNode ratio = new ObjectMapper().readTree(file.toFile()).path("workloads").path(workload).path("ratio_libtorch").path("median");
            return ratio.asDouble(Double.NaN);
        } finally {
            Files.deleteIfExists(file);
        }
    }
}
