// Whether a second run of the same kernels says the same: within the spread that both print, or not.
package dev.heddle.bench.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Two results of {@code heddle bench kernels} on one machine, case by case. */
record KernelsComparison(Result first, Result second, List<Row> rows) {
    /** A figure of a case in both: its time, or libtorch's time over it. */
    record Row(String name, String unit, Figure first, Figure second) {
        /** Whether each median lies within the other's spread. */
        boolean agrees() {
            return first.covers(second.median) && second.covers(first.median);
        }

        /** In words. */
        String verdict() {
            return agrees() ? "yes" : "no";
        }
    }

    /** The median of a run's batches, the least and the most. */
    record Figure(double median, double min, double max) {
        static Figure of(Result result, String name, String field) {
            return new Figure(result.number("cases", name, field), result.number("cases", name, field + "_min"), result.number("cases", name, field + "_max"));
        }

        boolean covers(double value) {
            return min <= value && value <= max;
        }

        @Override
        public String toString() {
            return String.format(Locale.ROOT, max < 10 ? "%.2f (%.2f - %.2f)" : "%,.1f (%,.1f - %,.1f)", median, min, max);
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
        List<Row> rows = new ArrayList<>();
        for (String field : List.of("us", "ratio")) {
            first.names("cases").stream().filter(name -> first.at("cases", name).has(field + "_min") && second.at("cases", name).has(field + "_min"))
                    .forEach(name -> rows.add(new Row(name, field, Figure.of(first, name, field), Figure.of(second, name, field))));
        }
        return new KernelsComparison(first, second, rows);
    }

    /** Both files, and how many medians agree. */
    String summary() {
        return first.name() + " and " + second.name() + ": within each other's spread lie the medians of " + agreeing("us", "times")
                + (rows.stream().anyMatch(row -> row.unit.equals("ratio")) ? " and of " + agreeing("ratio", "ratios to libtorch") : "");
    }

    private String agreeing(String unit, String name) {
        List<Row> some = rows.stream().filter(row -> row.unit.equals(unit)).toList();
        return some.stream().filter(Row::agrees).count() + " of " + some.size() + " " + name;
    }

    /** The summary and a line for each figure. */
    List<String> lines() {
        List<String> lines = new ArrayList<>(List.of(summary()));
        rows.forEach(row -> lines.add(String.format(Locale.ROOT, "  %-40s %34s %34s %-5s  %s", row.name, row.first, row.second, row.unit, row.verdict())));
        return lines;
    }

    void write(Page page) {
        page.paragraph(summary());
        page.table(List.of("kernel", "", first.name(), second.name(), "agree"),
                rows.stream().map(row -> List.of(row.name, row.unit, row.first.toString(), row.second.toString(), row.verdict())).toList());
    }
}
