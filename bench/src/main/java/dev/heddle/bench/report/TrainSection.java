// Training beside peers: ratios, samples a second, memory.
package dev.heddle.bench.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;

/** Of {@code heddle bench train}. */
final class TrainSection {
    private static final double MB = 1e6;

    private TrainSection() {}

    static void write(Result result, Page page) {
        List<String> peers = peers(result);
        result.names("peers").forEach(peer -> page.paragraph(peer + ": " + result.at("peers", peer).asText()));
        List<String> workloads = result.names("workloads");
        Map<String, List<Double>> ratios = new LinkedHashMap<>();
        Map<String, List<Double>> memory = new LinkedHashMap<>();
        memory.put("heddle", memory(result, workloads, "heddle"));
        List<List<String>> rows = new ArrayList<>();
        List<String> header = new ArrayList<>(List.of("model", "batch", "precision", "heddle, a second"));
        for (String peer : peers) {
            header.addAll(List.of(peer + ", a second", "ratio", "least - most"));
            ratios.put(peer, workloads.stream().map(w -> optional(result, "workloads", w, "ratio_" + peer, "median")).toList());
            memory.put(peer, memory(result, workloads, peer));
        }
        header.add("heddle, peak MB");
        peers.forEach(peer -> header.add(peer + ", peak MB"));
        for (int i = 0; i < workloads.size(); i++) {
            rows.add(row(result, workloads.get(i), peers, memory, i));
        }
        if (!workloads.isEmpty() && ratios.values().stream().anyMatch(r -> r.stream().anyMatch(Objects::nonNull))) {
            page.figure(stem(result) + "-ratios.png", "Heddle's speed over that of " + String.join(", ", peers),
                    Charts.bars("Heddle's samples a second over the peer's (line: as fast)", "ratio", workloads, ratios, 1));
        }
        ratios.forEach((peer, values) -> {
            double[] known = values.stream().filter(Objects::nonNull).mapToDouble(Double::doubleValue).toArray();
            if (known.length > 1) {
                double mean = Math.exp(Arrays.stream(known).map(Math::log).average().orElseThrow());
                page.paragraph(String.format(Locale.ROOT, "Geometric mean of the ratios to %s: %.2f", peer, mean));
            }
        });
        page.table(header, rows);
        if (!workloads.isEmpty()) {
            page.figure(stem(result) + "-memory.png", "Peak memory of Heddle and its peers",
                    Charts.bars("Peak memory of a process", "MB", workloads, memory, 0));
        }
    }

    private static List<String> row(Result result, String workload, List<String> peers, Map<String, List<Double>> memory, int i) {
        List<String> row = new ArrayList<>(List.of(workload, result.at("workloads", workload, "batch").asText(),
                result.at("workloads", workload, "precision").asText(), rate(result, workload, "heddle")));
        for (String peer : peers) {
            row.add(rate(result, workload, peer));
            for (String which : List.of("median", "range")) {
                if (optional(result, "workloads", workload, "ratio_" + peer, "median") == null) {
                    row.add("");
                } else {
                    row.add(which.equals("median") ? String.format(Locale.ROOT, "%.2f", result.number("workloads", workload, "ratio_" + peer, "median"))
                            : String.format(Locale.ROOT, "%.2f - %.2f", result.number("workloads", workload, "ratio_" + peer, "min"),
                                    result.number("workloads", workload, "ratio_" + peer, "max")));
                }
            }
        }
        memory.values().forEach(values -> row.add(values.get(i) == null ? "" : String.format(Locale.ROOT, "%.0f", values.get(i))));
        return row;
    }

    /** The sides that Heddle is compared with in any workload. */
    static List<String> peers(Result result) {
        return result.names("workloads").stream().flatMap(workload -> result.names("workloads", workload).stream())
                .filter(name -> name.startsWith("ratio_")).map(name -> name.substring("ratio_".length())).distinct().toList();
    }

    /** {@code "54,394 images"}, with the setting that a peer was best at; empty if this side did not run. */
    static String rate(Result result, String workload, String side) {
        if (!result.at("workloads", workload).has(side)) {
            return "";
        }
        String unit = side.equals("heddle") ? " " + result.at("workloads", workload, "sample").asText("samples") : "";
        String setting = result.at("workloads", workload, side, "setting").asText("");
        return String.format(Locale.ROOT, "%,.0f", result.number("workloads", workload, side, "median")) + unit + (setting.isEmpty() ? "" : " (" + setting + ")");
    }

    private static List<Double> memory(Result result, List<String> workloads, String side) {
        List<Double> values = new ArrayList<>();
        for (String workload : workloads) {
            Double bytes = optional(result, "workloads", workload, side, "peak_bytes");
            values.add(bytes == null ? null : bytes / MB);
        }
        return values;
    }

    private static Double optional(Result result, String... path) {
        return result.at(path).isMissingNode() ? null : Double.valueOf(result.number(path));
    }

    /** The file's name without its ending. */
    static String stem(Result result) {
        return result.name().replaceFirst("\\.json$", "");
    }
}
