// The benchmark table of the project's README, made of the results that are kept.
package dev.heddle.bench.report;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Of each machine and workload the newest result of {@code heddle bench train}. */
final class ReadmeTable {
    static final String BEGIN = "<!-- heddle bench report --readme: what follows is generated -->";
    static final String END = "<!-- heddle bench report --readme: end -->";
    private static final double MB = 1e6;

    private ReadmeTable() {}

    /** A workload and the file that has its newest result. */
    private record Row(String workload, Result result) {}

    /**
     * A table for each machine, in Markdown.
     *
     * @throws IllegalArgumentException if there is no result of training
     */
    static String of(List<Result> results) {
        Map<String, Map<String, Row>> machines = new LinkedHashMap<>();
        results.stream().filter(r -> r.what().equals("train")).sorted(Comparator.comparing(Result::version).thenComparing(Result::name)).forEach(result -> {
            Map<String, Row> rows = machines.computeIfAbsent(result.machine(), machine -> new LinkedHashMap<>());
            result.names("workloads").stream().filter(workload -> precision(result, workload).equals("f32"))
                    .forEach(workload -> rows.put(workload, new Row(workload, result)));
        });
        if (machines.isEmpty()) {
            throw new IllegalArgumentException("readme: there are no results of `heddle bench train` to make a table of");
        }
        StringBuilder text = new StringBuilder();
        machines.forEach((machine, rows) -> table(machine, List.copyOf(rows.values()), text));
        return text.toString();
    }

    private static void table(String machine, List<Row> rows, StringBuilder text) {
        Set<String> peers = new LinkedHashSet<>();
        Set<String> sources = new LinkedHashSet<>();
        for (Row row : rows) {
            peers.addAll(TrainSection.peers(row.result));
            sources.add("`bench/results/" + row.result.name() + "` (" + row.result.version() + ")");
        }
        text.append(text.isEmpty() ? "" : "\n").append("On ").append(machine).append(", medians of interleaved rounds; from ").append(String.join(", ", sources)).append(":\n\n");
        List<String> header = new ArrayList<>(List.of("training step", "Heddle, a second"));
        peers.forEach(peer -> header.addAll(List.of(peer + ", a second", "ratio")));
        header.add("peak memory, MB: Heddle, " + String.join(", ", peers));
        line(header, text);
        line(header.stream().map(h -> "---").toList(), text);
        for (Row row : rows) {
            Result result = row.result;
            List<String> cells = new ArrayList<>(List.of(result.at("workloads", row.workload, "description").asText(row.workload) + ", batch "
                    + result.at("workloads", row.workload, "batch").asText("?"),
                    TrainSection.rate(result, row.workload, "heddle")));
            List<String> memory = new ArrayList<>(List.of(memory(result, row.workload, "heddle")));
            for (String peer : peers) {
                String rate = TrainSection.rate(result, row.workload, peer);
                cells.addAll(List.of(rate, rate.isEmpty() ? "" : String.format(Locale.ROOT, "%.2f", result.number("workloads", row.workload, "ratio_" + peer, "median"))));
                memory.add(memory(result, row.workload, peer));
            }
            cells.add(String.join(", ", memory));
            line(cells, text);
        }
    }

    private static String precision(Result result, String workload) {
        return result.at("workloads", workload, "precision").asText("f32");
    }

    private static String memory(Result result, String workload, String side) {
        return result.at("workloads", workload, side).has("peak_bytes")
                ? String.format(Locale.ROOT, "%.0f", result.number("workloads", workload, side, "peak_bytes") / MB) : "-";
    }

    private static void line(List<String> cells, StringBuilder text) {
        text.append("| ").append(String.join(" | ", cells.stream().map(c -> c.replace("|", "\\|").replace('\n', ' ')).toList())).append(" |\n");
    }

    /**
     * A README with the text between the two marks replaced.
     *
     * @throws IllegalArgumentException if it does not have both, in order
     */
    static String replace(String readme, String table) {
        int begin = readme.indexOf(BEGIN);
        int end = readme.indexOf(END);
        if (begin < 0 || end < begin) {
            throw new IllegalArgumentException("readme: it needs a line '" + BEGIN + "', and behind it a line '" + END + "'");
        }
        return readme.substring(0, begin + BEGIN.length()) + "\n\n" + table + "\n" + readme.substring(end);
    }
}
