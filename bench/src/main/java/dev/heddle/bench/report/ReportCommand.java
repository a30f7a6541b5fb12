// heddle bench report
package dev.heddle.bench.report;

import com.fasterxml.jackson.databind.JsonNode;
import dev.heddle.training.AtomicFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Reads what the other commands wrote with {@code --json}. */
@Command(name = "report", mixinStandardHelpOptions = true, description = "Makes one HTML page and PNG plots of results, or with"
        + " --readme the benchmark table of a README.")
public final class ReportCommand implements Callable<Integer> {
    private static final Path KEPT = Path.of("bench/results");

    @Parameters(paramLabel = "FILE", description = "Results written with --json; default: those in bench/results.")
    private List<Path> files = new ArrayList<>();

    @Option(names = "--out", paramLabel = "DIR", defaultValue = "runs/bench", description = "Where report.html and the plots go; default: ${DEFAULT-VALUE}.")
    private Path out;

    @Option(names = "--readme", paramLabel = "FILE", description = "Write the table of training beside peers into this file, between its two marks, and nothing else.")
    private Path readme;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        if (files.isEmpty() && !Files.isDirectory(KEPT)) {
            throw new IllegalArgumentException("report: there is no folder " + KEPT + " here; name the files with results");
        }
        List<Result> results = new ArrayList<>();
        for (Path file : files.isEmpty() ? Result.list(KEPT) : files) {
            Result.read(file, line -> spec.commandLine().getErr().println(line)).ifPresent(results::add);
        }
        if (readme != null) {
            write(readme, ReadmeTable.replace(Files.readString(readme), ReadmeTable.of(results)).getBytes(StandardCharsets.UTF_8));
        } else if (results.isEmpty()) {
            throw new IllegalArgumentException("report: there are no results to report");
        } else {
            KernelsComparison.of(ofKind("kernels", results)).forEach(comparison -> comparison.lines().forEach(spec.commandLine().getOut()::println));
            Page page = page(results);
            for (Map.Entry<String, byte[]> figure : page.figures().entrySet()) {
                write(out.resolve(figure.getKey()), figure.getValue());
            }
            write(out.resolve("report.html"), page.html().getBytes(StandardCharsets.UTF_8));
        }
        return 0;
    }

    private void write(Path file, byte[] content) throws IOException {
        AtomicFile.write(file, content);
        spec.commandLine().getOut().println(file);
        spec.commandLine().getOut().flush();
    }

    /** All results, training first. */
    static Page page(List<Result> results) {
        Page page = new Page("Heddle, measured");
        for (Result result : ofKind("train", results)) {
            begin("Training beside peers", result, page);
            TrainSection.write(result, page);
        }
        for (Result result : ofKind("kernels", results)) {
            begin("Kernels and their ceilings", result, page);
            KernelsSection.write(result, page);
        }
        List<KernelsComparison> comparisons = KernelsComparison.of(ofKind("kernels", results));
        if (!comparisons.isEmpty()) {
            page.heading("Kernels, one run beside another");
            comparisons.forEach(comparison -> comparison.write(page));
        }
        for (Result result : ofKind("scaling", results)) {
            begin("Scaling", result, page);
            ScalingSection.write(result, page);
        }
        for (Result result : ofKind("jmh", results)) {
            begin("JMH", result, page);
            JmhSection.write(result, page);
        }
        return page;
    }

    private static List<Result> ofKind(String what, List<Result> results) {
        return results.stream().filter(r -> r.what().equals(what)).toList();
    }

    /** A heading, and the machine, versions, commit and date. */
    private static void begin(String title, Result result, Page page) {
        page.heading(title + ": " + result.machine() + ", " + result.at("machine", "date").asText("no date"));
        page.paragraph("From " + result.name());
        List<List<String>> rows = new ArrayList<>();
        flatten("", result.at("machine"), rows);
        page.table(List.of(), rows);
    }

    private static void flatten(String prefix, JsonNode node, List<List<String>> rows) {
        node.properties().forEach(e -> {
            if (e.getValue().isObject()) {
                flatten(prefix + e.getKey() + " ", e.getValue(), rows);
            } else {
                rows.add(List.of(prefix + e.getKey().replace('_', ' '), e.getValue().asText()));
            }
        });
    }
}
