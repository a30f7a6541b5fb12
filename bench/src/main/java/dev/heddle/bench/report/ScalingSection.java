// Scaling: curves of time and memory over each size, start-up, new shapes.
package dev.heddle.bench.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.ToDoubleFunction;

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
        List<List<String>> points = new ArrayList<>();
        result.at("series").forEach(series -> {
            String axis = series.path("axis").asText();
            byAxis.computeIfAbsent(axis, a -> new ArrayList<>()).add(series);
            StringBuilder base = new StringBuilder();
            series.path("base").properties().forEach(e -> base.append(e.getKey().equals(axis) ? "" : (base.isEmpty() ? "" : ", ") + e.getKey() + " " + e.getValue().asText()));
            slopes.add(List.of(series.path("model").asText(), axis, base.toString(),
                    String.format(Locale.ROOT, "%.2f", result.number(series.path("slope_time"), "slope_time of " + axis)),
                    String.format(Locale.ROOT, "%.2f", result.number(series.path("slope_memory"), "slope_memory of " + axis))));
            series.path("points").forEach(point -> points.add(List.of(series.path("model").asText(), axis + " " + point.path("value").asText(),
                    format("%.3f", result, point, "ms"), format("%.3f - ", result, point, "ms_q1") + format("%.3f", result, point, "ms_q3"),
                    format("%.3f - ", result, point, "ms_min") + format("%.3f", result, point, "ms_max"),
                    point.path("settled").asBoolean() ? "" : "did not settle in " + format("%.0f s", result, point, "warm_up_s"))));
        });
        String stem = TrainSection.stem(result);
        byAxis.forEach((axis, series) -> {
            page.figure(stem + "-" + axis + "-time.png", "Time of a step over " + axis,
                    Charts.curves("Time of a training step", axis, "ms", times(result, series)));
            page.figure(stem + "-" + axis + "-memory.png", "Memory of a step over " + axis,
                    Charts.curves("Peak memory of a training step", axis, "MB", memory(result, series)));
        });
        page.paragraph("Bars: half the range between the quartiles of a point's steps, up and down. Slopes of the curves with logarithmic axes: 1 if twice the size takes twice as much.");
        page.table(List.of("model", "varied", "at", "slope of time", "slope of memory"), slopes);
        List<List<String>> costs = new ArrayList<>();
        for (String model : result.names("startup")) {
            costs.add(List.of(model, milliseconds(result, "startup", model, "jvm_ms"), milliseconds(result, "startup", model, "first_step_ms"),
                    milliseconds(result, "plan_cache_miss", model, "hit_ms"), milliseconds(result, "plan_cache_miss", model, "miss_ms"),
                    milliseconds(result, "plan_cache_miss", model, "plan_ms")));
        }
        page.table(List.of("model", "process to main, ms", "process to first step done, ms", "step of a known shape, ms", "of a new one, ms", "cost of the plan, ms"), costs);
        page.paragraph("Each point's steps. Whether a second run's medians come within the quartiles says how far to trust them; where a warm-up"
                + " did not settle, the time says less.");
        page.table(List.of("model", "varied", "ms a step, median", "quartiles", "fastest - slowest", "warm-up"), points);
    }

    private static String milliseconds(Result result, String... path) {
        return String.format(Locale.ROOT, "%.1f", result.number(path));
    }

    private static String format(String format, Result result, JsonNode point, String field) {
        return String.format(Locale.ROOT, format, number(result, point, field));
    }

    private static double number(Result result, JsonNode point, String field) {
        return result.number(point.path(field), field + " of a point");
    }

    private static List<Charts.Points> times(Result result, List<JsonNode> series) {
        return series.stream().map(one -> new Charts.Points(one.path("model").asText(), values(one, point -> number(result, point, "value")),
                values(one, point -> number(result, point, "ms")), values(one, point -> (number(result, point, "ms_q3") - number(result, point, "ms_q1")) / 2)))
                .toList();
    }

    private static List<Charts.Points> memory(Result result, List<JsonNode> series) {
        return series.stream().map(one -> new Charts.Points(one.path("model").asText(), values(one, point -> number(result, point, "value")),
                values(one, point -> number(result, point, "peak_bytes") / MB))).toList();
    }

    private static double[] values(JsonNode series, ToDoubleFunction<JsonNode> value) {
        return series.path("points").valueStream().mapToDouble(value).toArray();
    }
}
