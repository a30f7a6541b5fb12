// Scaling: curves of time and memory over each size, start-up, new shapes.
package dev.heddle.bench.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Of {@code heddle bench scaling}. */
final class ScalingSection {
    private static final double MB = 1e6;

    private ScalingSection() {}

    static void write(Result result, Page page) {
        if (result.at("quick").asBoolean()) {
            page.paragraph("A quick run: it shows that the measurement works, and measures little.");
        }
        Map<String, List<JsonNode>> byAxis = new LinkedHashMap<>();
        List<List<String>> slopes = new ArrayList<>();
        result.at("series").forEach(series -> {
            String axis = series.path("axis").asText();
            byAxis.computeIfAbsent(axis, a -> new ArrayList<>()).add(series);
            StringBuilder base = new StringBuilder();
            series.path("base").properties().forEach(e -> base.append(e.getKey().equals(axis) ? "" : (base.isEmpty() ? "" : ", ") + e.getKey() + " " + e.getValue().asText()));
            slopes.add(List.of(series.path("model").asText(), axis, base.toString(),
                    String.format(Locale.ROOT, "%.2f", result.number(series.path("slope_time"), "slope_time of " + axis)),
                    String.format(Locale.ROOT, "%.2f", result.number(series.path("slope_memory"), "slope_memory of " + axis))));
        });
        String stem = TrainSection.stem(result);
        byAxis.forEach((axis, series) -> {
            page.figure(stem + "-" + axis + "-time.png", "Time of a step over " + axis,
                    Charts.curves("Time of a training step", axis, "ms", curves(result, series, "ms", 1)));
            page.figure(stem + "-" + axis + "-memory.png", "Memory of a step over " + axis,
                    Charts.curves("Peak memory of a training step", axis, "MB", curves(result, series, "peak_bytes", MB)));
        });
        page.paragraph("Slopes of the curves with logarithmic axes: 1 if twice the size takes twice as much.");
        page.table(List.of("model", "varied", "at", "slope of time", "slope of memory"), slopes);
        List<List<String>> costs = new ArrayList<>();
        for (String model : result.names("startup")) {
            costs.add(List.of(model, milliseconds(result, "startup", model, "jvm_ms"), milliseconds(result, "startup", model, "first_step_ms"),
                    milliseconds(result, "plan_cache_miss", model, "hit_ms"), milliseconds(result, "plan_cache_miss", model, "miss_ms"),
                    milliseconds(result, "plan_cache_miss", model, "plan_ms")));
        }
        page.table(List.of("model", "process to main, ms", "process to first step done, ms", "step of a known shape, ms", "of a new one, ms", "cost of the plan, ms"), costs);
    }

    private static String milliseconds(Result result, String... path) {
        return String.format(Locale.ROOT, "%.1f", result.number(path));
    }

    private static List<Charts.Points> curves(Result result, List<JsonNode> series, String field, double unit) {
        List<Charts.Points> curves = new ArrayList<>();
        for (JsonNode one : series) {
            JsonNode points = one.path("points");
            double[] x = new double[points.size()];
            double[] y = new double[x.length];
            for (int i = 0; i < x.length; i++) {
                x[i] = result.number(points.get(i).path("value"), "value of a point");
                y[i] = result.number(points.get(i).path(field), field + " of a point") / unit;
            }
            curves.add(new Charts.Points(one.path("model").asText(), x, y));
        }
        return curves;
    }
}
