// The three kinds of plots that the report needs, as PNG.
package dev.heddle.bench.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.knowm.xchart.AnnotationLine;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.internal.chartpart.Chart;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Draws. */
final class Charts {
    private static final int HEIGHT = 420;

    private Charts() {}

    /** A named curve or cloud of points; as many {@code x} as {@code y}, and as many {@code errors} up and down from it, or null. */
    record Points(String name, double[] x, double[] y, double[] errors) {
        Points(String name, double[] x, double[] y) {
            this(name, x, y, null);
        }
    }

    /**
     * Bars side by side.
     *
     * @param series by name, a value for each category, null where there is none
     * @param level a line to compare with
     */
    static byte[] bars(String title, String unit, List<String> categories, Map<String, List<Double>> series, double level) {
        boolean many = categories.size() > 8;
        CategoryChart chart = new CategoryChartBuilder().width(Math.clamp((many ? 20L : 60L) * categories.size() * series.size() + 220, 640, 1600))
                .height(many ? 2 * HEIGHT : HEIGHT).title(title).yAxisTitle(unit).build();
        style(chart.getStyler());
        chart.getStyler().setXAxisLabelRotation(many ? 90 : 0).setYAxisMin(0.0);
        series.forEach((name, values) -> {
            if (values.stream().anyMatch(Objects::nonNull)) {
                chart.addSeries(name, categories, values);
            }
        });
        chart.addAnnotation(new AnnotationLine(level, false, false));
        return png(chart);
    }

    /** Curves with logarithmic axes, and bars of their errors. */
    static byte[] curves(String title, String xTitle, String yTitle, List<Points> curves) {
        XYChart chart = logarithmic(title, xTitle, yTitle, 560, curves);
        curves.forEach(curve -> chart.addSeries(curve.name, curve.x, curve.y, curve.errors));
        return png(chart);
    }

    /**
     * A roofline: clouds of points under ceilings (Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", 2009).
     *
     * @param clouds FLOPs a byte, GFLOP/s
     * @param copy the ceiling of memory, GB/s
     * @param peaks ceilings of arithmetic by name, GFLOP/s
     */
    static byte[] roofline(String title, List<Points> clouds, double copy, Map<String, Double> peaks) {
        List<Points> all = new ArrayList<>(clouds);
        double low = clouds.stream().flatMapToDouble(cloud -> Arrays.stream(cloud.x)).min().orElse(1);
        double high = clouds.stream().flatMapToDouble(cloud -> Arrays.stream(cloud.x)).max().orElse(1);
        peaks.forEach((name, peak) -> {
            double ridge = peak / copy;
            double left = Math.min(low, ridge / 2);
            all.add(new Points("ceiling, " + name, new double[] {left, ridge, Math.max(high, 2 * ridge)}, new double[] {left * copy, peak, peak}));
        });
        XYChart chart = logarithmic(title, "arithmetic intensity, FLOPs a byte", "GFLOP/s", 900, all);
        for (int i = 0; i < all.size(); i++) {
            XYSeries series = chart.addSeries(all.get(i).name, all.get(i).x, all.get(i).y);
            if (i < clouds.size()) {
                series.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
            } else {
                series.setMarker(SeriesMarkers.NONE).setLineColor(Color.DARK_GRAY).setLineStyle(new BasicStroke(1.5f));
            }
        }
        return png(chart);
    }

    /** The axes end at powers of ten, since only those are labelled. */
    private static XYChart logarithmic(String title, String xTitle, String yTitle, int width, List<Points> points) {
        XYChart chart = new XYChartBuilder().width(width).height(HEIGHT).title(title).xAxisTitle(xTitle).yAxisTitle(yTitle).build();
        style(chart.getStyler());
        double[] x = points.stream().flatMapToDouble(p -> Arrays.stream(p.x)).toArray();
        double[] y = points.stream().flatMapToDouble(p -> Arrays.stream(p.y)).toArray();
        chart.getStyler().setXAxisLogarithmic(true).setYAxisLogarithmic(true).setXAxisMin(below(x)).setXAxisMax(above(x)).setYAxisMin(below(y)).setYAxisMax(above(y));
        return chart;
    }

    private static double below(double[] values) {
        return Math.pow(10, Math.floor(Math.log10(Arrays.stream(values).min().orElse(1))));
    }

    private static double above(double[] values) {
        return Math.pow(10, Math.floor(Math.log10(Arrays.stream(values).max().orElse(1))) + 1);
    }

    private static void style(AxesChartStyler styler) {
        styler.setLocale(Locale.ROOT).setLegendPosition(LegendPosition.OutsideE).setChartBackgroundColor(Color.WHITE)
                .setAnnotationLineColor(Color.DARK_GRAY);
    }

    private static byte[] png(Chart<?, ?> chart) {
        try {
            return BitmapEncoder.getBitmapBytes(chart, BitmapEncoder.BitmapFormat.PNG);
        } catch (IOException e) {
            throw new UncheckedIOException(e); // it goes to memory
        }
    }
}
