// Short texts with a label each, to learn from and to test with.
package dev.heddle.samples;

import dev.heddle.engine.Tensor;
import dev.heddle.training.AtomicFile;
import dev.heddle.training.Batch;
import dev.heddle.training.CacheFolder;
import dev.heddle.training.Dataset;
import dev.heddle.training.DatasetException;
import dev.heddle.training.text.TokenBatch;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A data set of texts.
 *
 * @param labels their names, in the order of their numbers
 */
record LabelledText(List<String> labels, List<Sample> train, List<Sample> test) {
    private static final int EACH = 400; // sentences of a package to learn from, a quarter of that to test with
    private static final List<String> PACKAGES = List.of("java/io/", "java/net/", "java/nio/", "java/security/", "java/text/", "java/time/");
    private static final Pattern JAVADOC = Pattern.compile("/\\*\\*(.*?)\\*/", Pattern.DOTALL);
    private static final int LEAST_WORDS = 6;
    private static final String TREC = "https://cogcomp.seas.upenn.edu/Data/QA/QC/";
    private static final Map<String, String> TREC_FILES = Map.of( // with their SHA-256
            "train_5500.label", "9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3",
            "TREC_10.label", "033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e");

    /** A text and its label. */
    record Sample(String label, String text) {}

    private static LabelledText of(List<Sample> train, List<Sample> test) {
        Set<String> labels = new TreeSet<>();
        train.forEach(sample -> labels.add(sample.label));
        for (Sample sample : test) {
            if (!labels.contains(sample.label)) {
                throw new DatasetException("text '" + sample.text + "' of the test has the label '" + sample.label
                        + "', which nothing is trained on");
            }
        }
        if (labels.size() < 2 || test.isEmpty()) {
            throw new DatasetException("labelled text: " + train.size() + " texts to learn from with the labels " + labels + ", " + test.size()
                    + " to test with");
        }
        return new LabelledText(List.copyOf(labels), train, test);
    }

    /** {@code javadoc}, {@code trec}, or a file. */
    static LabelledText read(String name) {
        return switch (name) {
            case "javadoc" -> javadoc();
            case "trec" -> trec(CacheFolder.of("trec"));
            default -> file(Path.of(name));
        };
    }

    /**
     * First sentences of the JDK's Javadoc, labelled by package. Each fifth class or so is for the test, so that sentences that are
     * repeated within a class are on one side; sentences of two packages are left out.
     */
    private static LabelledText javadoc() {
        Map<String, Set<String>> packages = new HashMap<>();
        Map<Boolean, List<Sample>> samples = Map.of(false, new ArrayList<>(), true, new ArrayList<>());
        for (String prefix : PACKAGES) {
            Corpus.jdk("java.base/" + prefix, (name, source) -> {
                Matcher comments = JAVADOC.matcher(source);
                while (comments.find()) {
                    String sentence = firstSentence(comments.group(1));
                    String label = prefix.substring(0, prefix.length() - 1).replace('/', '.');
                    if (sentence.split(" ").length >= LEAST_WORDS && packages.computeIfAbsent(sentence, s -> new HashSet<>()).add(label)) {
                        samples.get(Math.floorMod(name.hashCode(), 5) == 0).add(new Sample(label, sentence));
                    }
                }
            });
        }
        samples.values().forEach(list -> list.removeIf(sample -> packages.get(sample.text).size() > 1));
        return of(some(samples.get(false), EACH), some(samples.get(true), EACH / 4));
    }

    private static String firstSentence(String comment) {
        String text = comment.replaceAll("\n\\s*\\*", " ").split("\\s@\\w")[0].replaceAll("\\{@\\w+\\s+([^}]*)\\}", "$1")
                .replaceAll("<[^>]*>", " ").replaceAll("\\s+", " ").strip();
        return text.split("(?<=\\.) ")[0];
    }

    /** So many of each label, always the same ones. */
    private static List<Sample> some(List<Sample> samples, int each) {
        List<Sample> shuffled = new ArrayList<>(samples);
        java.util.Collections.shuffle(shuffled, new Random(1));
        Map<String, Integer> counts = new HashMap<>();
        shuffled.removeIf(sample -> counts.merge(sample.label, 1, Integer::sum) > each);
        return shuffled;
    }

    /** Questions by what they ask for, six kinds (Li and Roth, "Learning question classifiers", 2002). */
    static LabelledText trec(Path folder) {
        Function<String, List<Sample>> read = file -> lines(trecFile(folder, file), StandardCharsets.ISO_8859_1, LabelledText::question);
        return of(read.apply("train_5500.label"), read.apply("TREC_10.label"));
    }

    /** A line as {@code DESC:manner How did serfdom develop ?}; null if it is none. */
    static Sample question(String line) {
        int colon = line.indexOf(':');
        int space = line.indexOf(' ');
        return colon < 1 || space < colon ? null : new Sample(line.substring(0, colon), line.substring(space + 1));
    }

    private static Path trecFile(Path folder, String file) {
        Path path = folder.resolve(file);
        String sha256 = TREC_FILES.get(file);
        List<String> attempts = new ArrayList<>();
        try {
            Files.createDirectories(folder);
            if (!Files.exists(path) || !Fetch.sha256(Files.readAllBytes(path)).equals(sha256)) {
                byte[] content = Fetch.download(List.of(URI.create(TREC + file)), Duration.ofSeconds(60),
                        bytes -> Fetch.sha256(bytes).equals(sha256), attempts);
                if (content == null) {
                    throw new DatasetException("trec is not cached and could not be fetched (" + String.join("; ", attempts) + "). Put "
                            + String.join(", ", new TreeSet<>(TREC_FILES.keySet())) + " of " + TREC + " into " + folder);
                }
                AtomicFile.write(folder.resolve(file), content);
            }
        } catch (IOException e) {
            throw new DatasetException(folder + ": the data set cannot be kept there: " + e, e);
        }
        return path;
    }

    /** Lines of a label, a tab and a text; each fifth one is for the test. */
    private static LabelledText file(Path file) {
        List<Sample> train = new ArrayList<>();
        List<Sample> test = new ArrayList<>();
        for (Sample sample : lines(file, StandardCharsets.UTF_8, line -> {
            int tab = line.indexOf('\t');
            return tab < 1 ? null : new Sample(line.substring(0, tab), line.substring(tab + 1));
        })) {
            (train.size() >= 4 * (test.size() + 1) ? test : train).add(sample);
        }
        return of(train, test);
    }

    private static List<Sample> lines(Path file, java.nio.charset.Charset charset, Function<String, Sample> parse) {
        List<Sample> samples = new ArrayList<>();
        try {
            List<String> lines = Files.readAllLines(file, charset);
            for (int i = 0; i < lines.size(); i++) {
                Sample sample = parse.apply(lines.get(i));
                if (sample == null && !lines.get(i).isBlank()) {
                    throw new DatasetException(file + ": line " + (i + 1) + " is no label and text: " + lines.get(i));
                } else if (sample != null) {
                    samples.add(sample);
                }
            }
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be read as labelled text: " + e, e);
        }
        return samples;
    }

    /** Samples as tokens {@code (N, T)}, padded with 0, and labels {@code (N)}. */
    Dataset tokens(List<Sample> samples, Function<String, int[]> tokenizer, int longest) {
        List<int[]> sequences = samples.stream().map(sample -> tokenizer.apply(sample.text)).toList();
        long[] numbers = samples.stream().mapToLong(sample -> labels.indexOf(sample.label)).toArray();
        return new Dataset() {
            @Override
            public int size() {
                return numbers.length;
            }

            @Override
            public Batch batch(int[] indices, long seed) {
                TokenBatch batch = TokenBatch.of(Arrays.stream(indices).mapToObj(sequences::get).toList(), longest, 0);
                batch.lengths().close();
                return new Batch(batch.tokens(), Tensor.of(Arrays.stream(indices).mapToLong(i -> numbers[i]).toArray(), indices.length));
            }
        };
    }
}
