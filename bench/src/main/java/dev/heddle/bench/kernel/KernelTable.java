// What one or several processes measured of kernels: a table as it grows, and the JSON.
package dev.heddle.bench.kernel;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.Results;
import dev.heddle.engine.DType;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoubleBinaryOperator;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * Of the batches of all processes together that count, a row has {@code us} (the median), {@code us_min} and {@code us_max}, and in {@code fork_us}
 * the median of each process; {@code host_us, runs, error, bytes, flops, gb_per_s, gflop_per_s}; {@code batches}, how many were taken to choose
 * them from; {@code slowdown}, the median of how many times as long as ever a {@linkplain CoreProbe loop} took before or behind them;
 * {@code percent_of_ceiling}, of the copy bandwidth or the speed of a large product of its dtype, the best that any process measured,
 * whichever allows less ({@code ceiling}). Where every process found memory the limit, {@code ordinary_copy_gb_per_s} is the median of the
 * ordinary copies between the batches, and {@code percent_of_copy} the median over the processes of the kernel's bandwidth relative to that of
 * the copies. With a peer, {@code ratio} is the median of its batches' times over ours, one by one in their order, with
 * {@code ratio_min, ratio_max} and {@code fork_ratio}; {@code libtorch_us} is the median of its times. What failed in one process has
 * {@code failure}.
 */
final class KernelTable {
    private final PrintStream out;
    private final Path file;
    private final int forks;
    private final Map<String, List<ObjectNode>> measured = new LinkedHashMap<>();
    private ObjectNode results;

    /** A table that is complete when each case was added as often as there are processes. @param file written after each case; null for none */
    KernelTable(PrintStream out, Path file, int forks) {
        this.out = out;
        this.file = file;
        this.forks = forks;
    }

    /** Begins with machine and peers, as each process describes them; only the first counts. */
    void begin(ObjectNode description) {
        if (results == null) {
            results = description;
            results.putObject("ceilings");
            results.putObject("cases");
            say("%-40s %10s %21s %8s %9s %-12s %-9s %8s%s", "case on " + results.get("machine").get("device").asText(), "us", "fastest - slowest", "GB/s", "GFLOP/s",
                    "% of ceiling", "% of copy", "slowdown", results.has("peers") ? String.format(" %11s  %s", "libtorch us", "ratio") : "");
        }
    }

    /** Adds what a process {@linkplain KernelBench#measure measured} of a case; prints the row when it is the last one's, or failed. */
    void add(String name, ObjectNode fork) throws IOException {
        ObjectNode ceilings = (ObjectNode) results.get("ceilings");
        fork.get("ceilings").properties().forEach(e -> ceilings.put(e.getKey(), Math.max(e.getValue().asDouble(), ceilings.path(e.getKey()).asDouble())));
        List<ObjectNode> all = measured.computeIfAbsent(name, key -> new ArrayList<>());
        all.add(fork);
        ObjectNode row = ((ObjectNode) results.get("cases")).putObject(name);
        merge(all, ceilings, row);
        if (row.has("failure")) {
            say("%-40s FAILED: %s", name, row.get("failure").asText());
        } else if (all.size() == forks) {
            print(name, row);
        }
        if (file != null) {
            Results.write(file, results);
        }
    }

    /** Whether a process failed at this case. */
    boolean failed(String name) {
        return results.get("cases").path(name).has("failure");
    }

    /** What the first process computed, which checked it against the reference; null if this is the first. */
    Digest known(String name) {
        return measured.containsKey(name) ? Digest.parse(measured.get(name).getFirst().get("digest").asText()) : null;
    }

    /** Prints the ceilings. @return the results */
    ObjectNode end() {
        JsonNode ceilings = results.get("ceilings");
        say("ceilings: copy %.1f GB/s, by ordinary stores %.1f%s", ceilings.path("copy_gb_per_s").asDouble(), ceilings.path("ordinary_copy_gb_per_s").asDouble(),
                Arrays.stream(DType.values()).filter(dtype -> ceilings.has(matmul(dtype)))
                        .map(dtype -> String.format(Locale.ROOT, ", product %s %.0f GFLOP/s", dtype, ceilings.get(matmul(dtype)).asDouble())).collect(Collectors.joining()));
        return results;
    }

    /** What the results call the speed of a large product. */
    static String matmul(DType dtype) {
        return "matmul_" + (dtype == DType.F32 ? "" : dtype.name().toLowerCase(Locale.ROOT) + "_") + "gflop_per_s";
    }

    /** Whether a case of these results failed. */
    static boolean anyFailed(ObjectNode results) {
        return !results.get("cases").findValues("failure").isEmpty();
    }

    /** Puts into a row what one or more processes measured of a case. */
    static void merge(List<ObjectNode> forks, JsonNode ceilings, ObjectNode row) {
        ObjectNode first = forks.getFirst();
        if (first.has("error")) {
            row.set("error", first.get("error"));
        }
        for (int i = 0; i < forks.size(); i++) {
            if (forks.get(i).has("failure")) {
                row.put("failure", (i == 0 ? "" : "in process " + (i + 1) + ": ") + forks.get(i).get("failure").asText());
                return;
            }
        }
        double bytes = first.get("bytes").asDouble();
        double flops = first.get("flops").asDouble();
        List<double[]> times = values(forks, "us");
        double us = median(flat(times));
        row.put("bytes", bytes).put("flops", flops).put("us", us).put("us_min", min(flat(times))).put("us_max", max(flat(times)));
        putMedians(times, row.putArray("fork_us"));
        row.put("host_us", median(flat(values(forks, "host_us")))).put("runs", sum(forks, "runs")).put("batches", sum(forks, "batches"))
                .put("slowdown", median(flat(values(forks, "slowdown"))));
        double copyUs = bytes / ceilings.get("copy_gb_per_s").asDouble() / 1e3;
        double matmulUs = flops == 0 ? 0 : flops / ceilings.get(matmul(DType.valueOf(first.get("dtype").asText()))).asDouble() / 1e3;
        row.put("gb_per_s", bytes / us / 1e3).put("gflop_per_s", flops / us / 1e3).put("percent_of_ceiling", 100 * Math.max(copyUs, matmulUs) / us)
                .put("ceiling", copyUs >= matmulUs ? "copy" : "matmul");
        if (forks.stream().allMatch(fork -> fork.has("ordinary_copy_gb_per_s"))) {
            List<double[]> copies = values(forks, "ordinary_copy_gb_per_s");
            row.put("ordinary_copy_gb_per_s", median(flat(copies)))
                    .put("percent_of_copy", median(IntStream.range(0, forks.size())
                            .mapToDouble(i -> 100 * bytes / median(times.get(i)) / 1e3 / median(copies.get(i))).toArray()));
        }
        if (first.has("libtorch_us")) {
            List<double[]> theirs = values(forks, "libtorch_us");
            List<double[]> ratios = pairs(times, theirs, (ours, peer) -> peer / ours);
            row.put("libtorch_us", median(flat(theirs))).put("ratio", median(flat(ratios))).put("ratio_min", min(flat(ratios))).put("ratio_max", max(flat(ratios)));
            putMedians(ratios, row.putArray("fork_ratio"));
            row.put("libtorch_layout", forks.stream().map(fork -> fork.get("libtorch_layout").asText()).distinct().collect(Collectors.joining("/")));
        }
    }

    private void print(String name, ObjectNode row) {
        say("%-40s %10.1f %10.1f - %8.1f %8.1f %9.1f %4.0f %-7s %-9s %8.2f%s", name, row.get("us").asDouble(), row.get("us_min").asDouble(), row.get("us_max").asDouble(),
                row.get("gb_per_s").asDouble(), row.get("gflop_per_s").asDouble(), row.get("percent_of_ceiling").asDouble(), row.get("ceiling").asText(),
                row.has("percent_of_copy") ? String.format(Locale.ROOT, "%9.0f", row.get("percent_of_copy").asDouble()) : "", row.get("slowdown").asDouble(),
                row.has("ratio") ? String.format(Locale.ROOT, " %11.1f %6.2f (%.2f - %.2f) %s", row.get("libtorch_us").asDouble(), row.get("ratio").asDouble(),
                        row.get("ratio_min").asDouble(), row.get("ratio_max").asDouble(), row.get("libtorch_layout").asText()) : "");
    }

    private void say(String format, Object... arguments) {
        out.println(String.format(Locale.ROOT, format, arguments).stripTrailing());
    }

    /** An array of each process. */
    private static List<double[]> values(List<ObjectNode> forks, String field) {
        return forks.stream().map(fork -> fork.get(field).valueStream().mapToDouble(JsonNode::asDouble).toArray()).toList();
    }

    private static List<double[]> pairs(List<double[]> a, List<double[]> b, DoubleBinaryOperator f) {
        return IntStream.range(0, a.size()).mapToObj(fork ->
                IntStream.range(0, a.get(fork).length).mapToDouble(i -> f.applyAsDouble(a.get(fork)[i], b.get(fork)[i])).toArray()).toList();
    }

    private static double[] flat(List<double[]> forks) {
        return forks.stream().flatMapToDouble(Arrays::stream).toArray();
    }

    private static int sum(List<ObjectNode> forks, String field) {
        return forks.stream().mapToInt(fork -> fork.get(field).asInt()).sum();
    }

    private static void putMedians(List<double[]> forks, ArrayNode array) {
        forks.forEach(values -> array.add(median(values)));
    }

    private static double min(double[] values) {
        return Arrays.stream(values).min().orElseThrow();
    }

    private static double max(double[] values) {
        return Arrays.stream(values).max().orElseThrow();
    }

    /** The middle one, of an even number the mean of the middle two. */
    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }
}
