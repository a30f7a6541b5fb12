// Whether a second run of the same kernels says the same: within the spread that both print, or not.
package dev.heddle.bench.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Two results of {@code heddle bench kernels} on one machine, case by case. */
record KernelsComparison(Result first, Result second, List<Row> rows) {
    /** A case of both. */
    record Row(String name, Timing first, Timing second) {
        /** Whether each median lies within the other's spread. */
        boolean agrees() {
            return first.covers(second.us) && second.covers(first.us);
        }

        /** In words. */
        String verdict() {
            return agrees() ? "yes" : "no";
        }
    }

    /** Microseconds: the median of a run's batches, the fastest and the slowest. */
    record Timing(double us, double min, double max) {
        static Timing of(Result result, String name) {
            return new Timing(result.number("cases", name, "us"), result.number("cases", name, "us_min"), result.number("cases", name, "us_max"));
        }

        boolean covers(double value) {
            return min <= value && value <= max;
        }

        @Override
        public String toString() {
            return String.format(Locale.ROOT, "%,.1f (%,.1f - %,.1f)", us, min, max);
        }
    }

    /** Each result with the next one of its machine and device, if they have cases in common. */
    static List<KernelsComparison> of(List<Result> kernels) {
        List<KernelsComparison> comparisons = new ArrayList<>();
        for (int i = 0; i < kernels.size(); i++) {
            Result first = kernels.get(i);
            kernels.stream().skip(i + 1).filter(r -> r.machine().equals(first.machine()) && r.at("machine", "device").equals(first.at("machine", "device")))
                    .findFirst().map(second -> of(first, second)).filter(c -> !c.rows.isEmpty()).ifPresent(comparisons::add);
        }
        return comparisons;
    }

    private static KernelsComparison of(Result first, Result second) {
        List<String> both = first.names("cases").stream().filter(name -> first.at("cases", name).has("us") && second.at("cases", name).has("us")).toList();
        return new KernelsComparison(first, second, both.stream().map(name -> new Row(name, Timing.of(first, name), Timing.of(second, name))).toList());
    }

    /** Both files, and of how many cases the medians agree. */
    String summary() {
        return first.name() + " and " + second.name() + ": of " + rows.size() + " kernels in both, the medians of " + rows.stream().filter(Row::agrees).count()
                + " lie within each other's spread";
    }

    /** The summary and a line for each case. */
    List<String> lines() {
        List<String> lines = new ArrayList<>(List.of(summary()));
        rows.forEach(row -> lines.add(String.format(Locale.ROOT, "  %-40s %34s %34s us  %s", row.name, row.first, row.second, row.verdict())));
        return lines;
    }

    void write(Page page) {
        page.paragraph(summary());
        page.table(List.of("kernel", first.name() + ", us", second.name() + ", us", "agree"),
                rows.stream().map(row -> List.of(row.name, row.first.toString(), row.second.toString(), row.verdict())).toList());
    }
}
