// heddle data pack
package dev.heddle.samples;

import dev.heddle.training.DatasetException;
import dev.heddle.training.TokenShards;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Turns texts into tokens once, so that training maps them; the end of each text is kept to validate with. */
@Command(name = "pack", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Turn texts into files of tokens, for train gpt --data.")
final class DataPackCommand implements Callable<Integer> {
    private static final int SHARD = 1 << 26; // tokens of a file

    @Spec
    private CommandSpec spec;

    @Option(names = "--text", arity = "1..*", paramLabel = "FILE|DIR", description = "UTF-8 texts, or folders of them; default: the Java sources of the JDK.")
    private List<Path> texts = List.of();

    @Option(names = "--out", paramLabel = "FOLDER", required = true, description = "Where the files go; it must hold none.")
    private Path out;

    @Option(names = "--tokenizer", defaultValue = "char", description = "One of ${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}.")
    private Vocabulary.Kind tokenizer;

    @Option(names = "--validation", defaultValue = "0.05", description = "Part of each text, its end, to validate with; default: ${DEFAULT-VALUE}.")
    private double validation;

    /** Tokens on their way into files. */
    private static final class Packer {
        private final Path folder;
        private final String kind;
        private final Vocabulary vocabulary;
        private int[] tokens = new int[1 << 16];
        private int count;
        private int files;
        private long total;

        Packer(Path folder, String kind, Vocabulary vocabulary) {
            this.folder = folder;
            this.kind = kind;
            this.vocabulary = vocabulary;
        }

        void add(int[] more, int from, int to) {
            for (int i = from; i < to;) {
                int part = Math.min(to - i, SHARD - count);
                if (count + part > tokens.length) {
                    tokens = Arrays.copyOf(tokens, Math.min(SHARD, Math.max(count + part, 2 * tokens.length)));
                }
                System.arraycopy(more, i, tokens, count, part);
                count += part;
                i += part;
                if (count == SHARD) {
                    write();
                }
            }
        }

        void write() {
            TokenShards.write(folder.resolve(TokenShards.name(kind, files++)), tokens, count, vocabulary.size(), vocabulary.description());
            total += count;
            count = 0;
        }
    }

    @Override
    public Integer call() {
        if (!(validation >= 0 && validation < 1)) {
            throw new IllegalArgumentException("data pack: --validation " + validation + " is not in [0, 1)");
        }
        TrainCommand.requireWritable(out);
        requireEmpty();
        List<Path> files = files();
        Vocabulary vocabulary = tokenizer.of(() -> files.stream().map(Corpus::read).iterator());
        Packer train = new Packer(out, "train", vocabulary);
        Packer rest = new Packer(out, "validation", vocabulary);
        for (Path file : files) {
            int[] tokens = vocabulary.tokenizer().encode(Corpus.read(file));
            int split = (int) (tokens.length * (1 - validation));
            for (Packer packer : List.of(train, rest)) {
                packer.add(tokens, packer == train ? 0 : split, packer == train ? split : tokens.length);
                if (vocabulary.end() >= 0) {
                    packer.add(new int[] {vocabulary.end()}, 0, 1);
                }
            }
        }
        train.write();
        rest.write();
        spec.commandLine().getOut().printf(Locale.ROOT, "%,d tokens of %,d to train with, %,d to validate with, from %,d texts; in %s%n", train.total,
                vocabulary.size(), rest.total, files.size(), out);
        spec.commandLine().getOut().flush();
        return 0;
    }

    /** Otherwise what is left of another corpus would become part of this one. */
    private void requireEmpty() {
        try (Stream<Path> there = Files.list(out)) {
            there.filter(file -> file.toString().endsWith(".tokens")).findFirst().ifPresent(file -> {
                throw new DatasetException(file + ": is there already; name another folder, or remove it");
            });
        } catch (IOException e) {
            throw new DatasetException(out + ": cannot be read: " + e, e);
        }
    }

    /** All files, those of folders in the order of their names; null stands for the JDK's sources. */
    private List<Path> files() {
        List<Path> files = new ArrayList<>();
        for (Path text : texts) {
            try (Stream<Path> below = Files.walk(text)) {
                List<Path> found = below.filter(Files::isRegularFile).sorted().toList();
                if (found.isEmpty()) {
                    throw new DatasetException(text + ": holds no files");
                }
                files.addAll(found);
            } catch (IOException e) {
                throw new DatasetException(text + ": cannot be read: " + e, e);
            }
        }
        if (texts.isEmpty()) {
            files.add(null);
        }
        return files;
    }
}
