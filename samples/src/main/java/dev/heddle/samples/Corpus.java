// Text to learn from: by default the Java sources that come with the JDK.
package dev.heddle.samples;

import dev.heddle.training.DatasetException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/** Reads whole texts. */
final class Corpus {
    private static final String PREFIX = "java.base/java/"; // enough, and the best kept

    private Corpus() {}

    /** The text of a file, or of the JDK's sources if that is null. */
    static String read(Path file) {
        if (file == null) {
            return jdk();
        }
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be read as UTF-8 text: " + e, e);
        }
    }

    /** The classes below {@code java.} in {@code lib/src.zip}, in the order of their names, without their licence headers. */
    private static String jdk() {
        StringBuilder text = new StringBuilder();
        jdk(PREFIX, (name, source) -> {
            int end = source.startsWith("/*") ? source.indexOf("*/") + 2 : 0;
            text.append(source, end, source.length());
        });
        return text.toString();
    }

    /** Gives a consumer the name and the text of each class of {@code lib/src.zip} below a prefix, in the order of their names. */
    static void jdk(String prefix, BiConsumer<String, String> consumer) {
        Path zip = Path.of(System.getProperty("java.home"), "lib", "src.zip");
        if (!Files.isReadable(zip)) {
            throw new DatasetException(zip + " is not there (some JDKs come without their sources); name a file of your own: see --help");
        }
        try (ZipFile sources = new ZipFile(zip.toFile())) {
            List<? extends ZipEntry> entries = sources.stream().filter(e -> e.getName().startsWith(prefix) && e.getName().endsWith(".java"))
                    .sorted((a, b) -> a.getName().compareTo(b.getName())).toList();
            for (ZipEntry entry : entries) {
                consumer.accept(entry.getName(), new String(sources.getInputStream(entry).readAllBytes(), StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            throw new DatasetException(zip + ": " + e.getMessage(), e);
        }
    }
}
