// Kernels: how far each is from the ceiling that was measured with it.
package dev.heddle.bench.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Of {@code heddle bench kernels}. */
final class KernelsSection {
    private KernelsSection() {}

    static void write(Result result, Page page) {
        double copy = result.number("ceilings", "copy_gb_per_s");
        Map<String, Double> peaks = new LinkedHashMap<>();
        for (String name : result.names("ceilings")) {
            if (name.matches("matmul.*_gflop_per_s")) {
                peaks.put(name.replaceFirst("_gflop_per_s$", "").replace('_', ' '), result.number("ceilings", name));
            }
        }
        StringBuilder ceilings = new StringBuilder(String.format(Locale.ROOT, "Ceilings, measured in the same run: copy %.1f GB/s", copy));
        if (result.at("ceilings").has("ordinary_copy_gb_per_s")) {
            ceilings.append(String.format(Locale.ROOT, " (by ordinary stores %.1f)", result.number("ceilings", "ordinary_copy_gb_per_s")));
        }
        peaks.forEach((name, peak) -> ceilings.append(String.format(Locale.ROOT, ", %s %.0f GFLOP/s", name, peak)));
        page.paragraph(ceilings.toString());
        result.names("peers").forEach(peer -> page.paragraph(peer + ": " + result.at("peers", peer).asText()));

        List<List<String>> rows = new ArrayList<>();
        Map<String, List<double[]>> families = new LinkedHashMap<>(); // intensity, GFLOP/s
        List<String> names = new ArrayList<>();
        List<Double> percents = new ArrayList<>();
        List<String> compared = new ArrayList<>();
        List<Double> ratios = new ArrayList<>();
        for (String name : result.names("cases")) {
            JsonNode row = result.at("cases", name);
            if (row.has("failure")) {
                rows.add(List.of(name, "failed: " + row.get("failure").asText()));
                continue;
            }
            double flops = result.number("cases", name, "flops");
            double bytes = result.number("cases", name, "bytes");
            if (flops > 0 && bytes > 0) {
                families.computeIfAbsent(name.split("[ _]")[0], family -> new ArrayList<>())
                        .add(new double[] {flops / bytes, result.number("cases", name, "gflop_per_s")});
            }
            names.add(name);
            percents.add(result.number("cases", name, "percent_of_ceiling"));
            if (row.has("ratio")) {
                compared.add(name);
                ratios.add(result.number("cases", name, "ratio"));
            }
            rows.add(row(result, name, row));
        }
        String stem = TrainSection.stem(result);
        if (!families.isEmpty() && !peaks.isEmpty()) {
            List<Charts.Points> clouds = new ArrayList<>();
            families.forEach((family, points) -> clouds.add(new Charts.Points(family, points.stream().mapToDouble(p -> p[0]).toArray(),
                    points.stream().mapToDouble(p -> p[1]).toArray())));
            page.figure(stem + "-roofline.png", "Roofline: GFLOP/s over arithmetic intensity", Charts.roofline("Roofline", clouds, copy, peaks));
            page.paragraph("Kernels whose floating-point operations are not counted are not in the roofline; the next plot has them.");
        }
        if (!names.isEmpty()) {
            page.figure(stem + "-ceilings.png", "Percent of the ceiling, by kernel", Charts.bars("Percent of the ceiling: copy or product, whichever"
                    + " takes longer", "%", names, Map.of("heddle", percents), 100));
        }
        if (!compared.isEmpty()) {
            page.figure(stem + "-ratios.png", "libtorch's time over Heddle's, by kernel",
                    Charts.bars("libtorch's time over Heddle's (line: as fast)", "ratio", compared, Map.of("heddle", ratios), 1));
        }
        page.table(List.of("kernel", "us", "least - most", "GB/s", "GFLOP/s", "% of ceiling", "ceiling", "% of copy beside it", "libtorch, us", "ratio",
                "least - most"), rows);
    }

    private static List<String> row(Result result, String name, JsonNode row) {
        return List.of(name, format(result, name, "us", "%,.1f"), format(result, name, "us_min", "%,.1f") + " - " + format(result, name, "us_max", "%,.1f"),
                format(result, name, "gb_per_s", "%,.1f"), format(result, name, "gflop_per_s", "%,.1f"), format(result, name, "percent_of_ceiling", "%.0f"),
                row.path("ceiling").asText(), row.has("percent_of_copy") ? format(result, name, "percent_of_copy", "%.0f") : "",
                row.has("libtorch_us") ? format(result, name, "libtorch_us", "%,.1f") : "", row.has("ratio") ? format(result, name, "ratio", "%.2f") : "",
                row.has("ratio_min") ? format(result, name, "ratio_min", "%.2f") + " - " + format(result, name, "ratio_max", "%.2f") : "");
    }

    private static String format(Result result, String name, String field, String format) {
        return String.format(Locale.ROOT, format, result.number("cases", name, field));
    }
}
