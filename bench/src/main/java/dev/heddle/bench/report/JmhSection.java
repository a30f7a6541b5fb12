// JMH: scores by class, and plots where parameters vary.
package dev.heddle.bench.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;

/** Of {@code heddle bench jmh}, which keeps JMH's own array of benchmarks. */
final class JmhSection {
    private JmhSection() {}

    static void write(Result result, Page page) {
        page.paragraph("Errors are JMH's: half of a 99.9% confidence interval of the mean; none where there was one measurement.");
        Map<String, List<JsonNode>> classes = new LinkedHashMap<>();
        result.at("benchmarks").forEach(benchmark -> classes.computeIfAbsent(name(benchmark, 2), name -> new ArrayList<>()).add(benchmark));
        classes.forEach((name, benchmarks) -> {
            page.table(List.of(name, "parameters", "score", "error", "unit", "mode", "forks x iterations"), benchmarks.stream().map(b -> row(result, b)).toList());
            plot(result, name, benchmarks, page);
        });
    }

    /** Of {@code a.b.SoftmaxBenchmark.softmax} the last part but so many: 1 is the method, 2 the class. */
    private static String name(JsonNode benchmark, int last) {
        List<String> parts = Arrays.asList(benchmark.path("benchmark").asText().split("\\."));
        return parts.get(Math.max(0, parts.size() - last));
    }

    private static List<String> row(Result result, JsonNode benchmark) {
        JsonNode metric = benchmark.path("primaryMetric");
        JsonNode error = metric.path("scoreError"); // the text NaN if there is none
        return List.of(name(benchmark, 1), parameters(benchmark), format(score(result, benchmark)), error.isNumber() ? "± " + format(error.asDouble()) : "",
                metric.path("scoreUnit").asText(), benchmark.path("mode").asText(), benchmark.path("forks").asText() + " x " + benchmark.path("measurementIterations").asText());
    }

    private static String parameters(JsonNode benchmark) {
        return benchmark.path("params").properties().stream().map(e -> e.getKey() + " " + e.getValue().asText()).collect(Collectors.joining(", "));
    }

    private static double score(Result result, JsonNode benchmark) {
        return result.number(benchmark.path("primaryMetric").path("score"), "primaryMetric/score of " + benchmark.path("benchmark").asText());
    }

    private static String format(double value) {
        return String.format(Locale.ROOT, Math.abs(value) < 10 ? "%.4f" : "%,.1f", value);
    }

    /** The methods of a class side by side, for each combination of parameters; one plot for each unit. */
    private static void plot(Result result, String name, List<JsonNode> benchmarks, Page page) {
        Map<String, List<JsonNode>> units = benchmarks.stream().collect(Collectors.groupingBy(b -> b.path("primaryMetric").path("scoreUnit").asText(),
                LinkedHashMap::new, Collectors.toList()));
        units.forEach((unit, same) -> {
            List<String> categories = same.stream().map(JmhSection::parameters).distinct().toList();
            Map<String, List<Double>> series = new LinkedHashMap<>();
            for (JsonNode benchmark : same) {
                series.computeIfAbsent(name(benchmark, 1), method -> new ArrayList<>(categories.stream().map(c -> (Double) null).toList()))
                        .set(categories.indexOf(parameters(benchmark)), score(result, benchmark));
            }
            if (categories.size() > 1) {
                String file = TrainSection.stem(result) + "-" + name + "-" + unit;
                page.figure(file.replaceAll("[^\\w-]", "_") + ".png", name + ", " + unit, Charts.bars(name, unit, categories, series, 0));
            }
        });
    }
}
