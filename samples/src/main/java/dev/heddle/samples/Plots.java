// Pictures of a training run, as PNG files.
package dev.heddle.samples;

import dev.heddle.training.AtomicFile;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.Classification;
import dev.heddle.training.History;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Draws what a run was like. */
final class Plots {
    private static final int CELL = 44;
    private static final int SCALE = 3;

    private Plots() {}

    /** The training loss over the steps, and the validation loss at the end of each epoch. */
    static void lossCurve(Path file, History history) {
        XYChart chart = new XYChartBuilder().width(900).height(500).title("loss").xAxisTitle("step").yAxisTitle("cross-entropy").build();
        chart.getStyler().setYAxisLogarithmic(history.curve().stream().allMatch(p -> p.loss() > 0));
        chart.addSeries("training", history.curve().stream().mapToDouble(History.Point::step).toArray(),
                history.curve().stream().mapToDouble(History.Point::loss).toArray()).setMarker(SeriesMarkers.NONE);
        List<History.Epoch> validated = history.epochs().stream().filter(e -> e.validation() != null).toList();
        if (!validated.isEmpty()) {
            double stepsPerEpoch = (double) history.curve().getLast().step() / history.epochs().size();
            chart.addSeries("validation", validated.stream().mapToDouble(e -> e.number() * stepsPerEpoch).toArray(),
                    validated.stream().mapToDouble(e -> e.validation().loss()).toArray());
        }
        write(file, BitmapEncoder.getBufferedImage(chart));
    }

    /** What was and what was forecast, from a step of the series on. */
    static void forecast(Path file, int first, double[] actual, double[] forecast) {
        XYChart chart = new XYChartBuilder().width(900).height(500).title("forecast").xAxisTitle("step").yAxisTitle("value").build();
        double[] steps = IntStream.range(first, first + actual.length).asDoubleStream().toArray();
        chart.addSeries("actual", steps, actual).setMarker(SeriesMarkers.NONE);
        chart.addSeries("forecast, one step ahead", steps, forecast).setMarker(SeriesMarkers.NONE);
        write(file, BitmapEncoder.getBufferedImage(chart));
    }

    /** Counts of predictions (columns) by label (rows), darker for more. */
    static void confusion(Path file, long[][] counts) {
        int n = counts.length;
        BufferedImage image = new BufferedImage((n + 1) * CELL, (n + 1) * CELL, BufferedImage.TYPE_INT_RGB);
        Graphics2D g = image.createGraphics();
        g.setColor(Color.WHITE);
        g.fillRect(0, 0, image.getWidth(), image.getHeight());
        g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
        for (int row = 0; row < n; row++) {
            long total = 0;
            for (long count : counts[row]) {
                total += count;
            }
            g.setColor(Color.BLACK);
            g.drawString(Integer.toString(row), CELL / 3, (row + 1) * CELL + CELL * 2 / 3);
            g.drawString(Integer.toString(row), (row + 1) * CELL + CELL / 3, CELL * 2 / 3);
            for (int column = 0; column < n; column++) {
                // the root makes rare confusions visible
                int shade = (int) (255 * (1 - Math.sqrt(total == 0 ? 0 : (double) counts[row][column] / total)));
                g.setColor(row == column ? new Color(shade, 255, shade) : new Color(255, shade, shade));
                g.fillRect((column + 1) * CELL, (row + 1) * CELL, CELL - 1, CELL - 1);
                g.setColor(Color.BLACK);
                if (counts[row][column] > 0) {
                    g.drawString(Long.toString(counts[row][column]), (column + 1) * CELL + 6, (row + 1) * CELL + CELL * 2 / 3);
                }
            }
        }
        g.dispose();
        write(file, image);
    }

    /**
     * The images with the largest losses, each with "label: prediction" under it.
     *
     * @param pixels of all images, {@code size x size} values in {@code [0, 1]} each
     */
    static void worst(Path file, Classification result, float[] pixels, int size, long[] labels) {
        int columns = 8;
        List<Integer> order = IntStream.range(0, labels.length).boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> result.losses()[i]).reversed()).limit(4L * columns).toList();
        int width = size * SCALE + 8;
        int height = size * SCALE + 24;
        BufferedImage image = new BufferedImage(columns * width, Math.max(1, (order.size() + columns - 1) / columns) * height,
                BufferedImage.TYPE_INT_RGB);
        Graphics2D g = image.createGraphics();
        g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
        for (int k = 0; k < order.size(); k++) {
            int sample = order.get(k);
            int left = k % columns * width + 4;
            int top = k / columns * height + 4;
            for (int i = 0; i < size * size; i++) {
                int grey = Math.clamp(Math.round(255 * pixels[sample * size * size + i]), 0, 255);
                g.setColor(new Color(grey, grey, grey));
                g.fillRect(left + i % size * SCALE, top + i / size * SCALE, SCALE, SCALE);
            }
            g.setColor(result.predictions()[sample] == labels[sample] ? Color.GREEN : Color.ORANGE);
            g.drawString(labels[sample] + ": " + result.predictions()[sample], left, top + size * SCALE + 15);
        }
        g.dispose();
        write(file, image);
    }

    private static void write(Path file, BufferedImage image) {
        try {
            AtomicFile.write(file, channel -> ImageIO.write(image, "png", Channels.newOutputStream(channel)));
        } catch (IOException e) {
            throw new CheckpointException(file + ": cannot be written: " + e, e);
        }
    }
}
