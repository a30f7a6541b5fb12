// Long texts as tokens on disk: files that are mapped, not read, so that a corpus may be larger than memory.
package dev.heddle.training;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The tokens of one or more files, one behind the other. A file is, in little-endian order: the 8 bytes {@code HDLTOKEN}; the version,
 * 1, in 4 bytes; bytes of a token, 2 or 4, in 4; number of tokens in 8; size of the vocabulary in 4; length of the tokenizer's
 * description in 4; that description in UTF-8; zeros up to a multiple of 8; the tokens, unsigned. Files are written to a temporary
 * name, synced and renamed; nothing that a file says is believed before it is checked.
 */
public final class TokenShards {
    private static final long MAGIC = ByteBuffer.wrap("HDLTOKEN".getBytes(StandardCharsets.US_ASCII)).order(ByteOrder.LITTLE_ENDIAN).getLong();
    private static final int VERSION = 1;
    private static final int HEADER = 32; // bytes, without the description
    private static final int LONGEST_DESCRIPTION = 1 << 24; // bytes
    private static final int CHUNK = 1 << 18; // tokens written at once
    private static final String SUFFIX = ".tokens";
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** A mapped file. */
    private record Shard(Path file, MemorySegment tokens, boolean wide, long count) {}

    private final List<Shard> shards;
    private final int vocabulary;
    private final String tokenizer;
    private final long size;

    private TokenShards(List<Shard> shards, int vocabulary, String tokenizer) {
        this.shards = List.copyOf(shards);
        this.vocabulary = vocabulary;
        this.tokenizer = tokenizer;
        size = shards.stream().mapToLong(Shard::count).sum();
    }

    /**
     * Writes a file, or leaves what was there before.
     *
     * @param tokens the first {@code count} are written; each at least 0 and less than {@code vocabulary}
     * @param tokenizer says how tokens become text; any string
     * @throws DatasetException if it cannot be written
     */
    public static void write(Path file, int[] tokens, int count, int vocabulary, String tokenizer) {
        byte[] description = tokenizer.getBytes(StandardCharsets.UTF_8);
        if (count < 0 || count > tokens.length || vocabulary < 1 || description.length > LONGEST_DESCRIPTION) {
            throw new IllegalArgumentException("token shard: " + count + " of " + tokens.length + " tokens, a vocabulary of " + vocabulary
                    + ", a description of " + description.length + " bytes");
        }
        boolean wide = vocabulary > 1 << 16;
        ByteBuffer header = ByteBuffer.allocate(begin(description.length)).order(ByteOrder.LITTLE_ENDIAN);
        header.putLong(MAGIC).putInt(VERSION).putInt(wide ? 4 : 2).putLong(count).putInt(vocabulary).putInt(description.length).put(description);
        try {
            AtomicFile.write(file, channel -> {
                AtomicFile.write(channel, header.rewind());
                ByteBuffer chunk = ByteBuffer.allocateDirect(CHUNK * 4).order(ByteOrder.LITTLE_ENDIAN);
                for (int i = 0; i < count;) {
                    chunk.clear();
                    for (int end = Math.min(count, i + CHUNK); i < end; i++) {
                        if (tokens[i] < 0 || tokens[i] >= vocabulary) {
                            throw new IllegalArgumentException("token shard: token " + tokens[i] + " of a vocabulary of " + vocabulary);
                        }
                        if (wide) {
                            chunk.putInt(tokens[i]);
                        } else {
                            chunk.putShort((short) tokens[i]);
                        }
                    }
                    AtomicFile.write(channel, chunk.flip());
                }
            });
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be written: " + e, e);
        }
    }

    /** Where tokens begin, in bytes. */
    private static int begin(int description) {
        return (HEADER + description + 7) & -8;
    }

    /** The name of the {@code i}-th file of a kind, such as {@code train}. */
    public static String name(String kind, int i) {
        return String.format(java.util.Locale.ROOT, "%s-%05d%s", kind, i, SUFFIX);
    }

    /**
     * Maps the files of a kind in a folder, in the order of their names.
     *
     * @param kind what the names begin with, see {@link #name}
     * @throws DatasetException if there are none, one is damaged, or they do not belong together
     */
    public static TokenShards open(Path folder, String kind) {
        List<Path> files;
        try (Stream<Path> all = Files.list(folder)) {
            files = all.filter(file -> file.getFileName().toString().matches(java.util.regex.Pattern.quote(kind) + "-\\d+" + SUFFIX)).sorted().toList();
        } catch (IOException e) {
            throw new DatasetException(folder + ": cannot be read: " + e, e);
        }
        if (files.isEmpty()) {
            throw new DatasetException(folder + ": holds no " + name(kind, 0));
        }
        TokenShards first = open(files.getFirst());
        List<Shard> shards = new ArrayList<>(first.shards);
        for (Path file : files.subList(1, files.size())) {
            TokenShards next = open(file);
            if (next.vocabulary != first.vocabulary || !next.tokenizer.equals(first.tokenizer)) {
                throw new DatasetException(file + ": was made by another tokenizer than " + files.getFirst());
            }
            shards.addAll(next.shards);
        }
        return new TokenShards(shards, first.vocabulary, first.tokenizer);
    }

    /**
     * Maps one file.
     *
     * @throws DatasetException if it is damaged
     */
    public static TokenShards open(Path file) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            long bytes = channel.size();
            if (bytes < HEADER) {
                throw new DatasetException(file + ": no token shard: " + bytes + " bytes");
            }
            MemorySegment content = channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes, Arena.ofAuto());
            int width = content.get(INT, 12);
            long count = content.get(LONG, 16);
            int vocabulary = content.get(INT, 24);
            int description = content.get(INT, 28);
            if (content.get(LONG, 0) != MAGIC || content.get(INT, 8) != VERSION) {
                throw new DatasetException(file + ": no token shard of version " + VERSION);
            }
            if (width != 2 && width != 4 || count < 0 || vocabulary < 1 || description < 0 || description > LONGEST_DESCRIPTION) {
                throw new DatasetException(file + ": damaged token shard: " + width + " bytes a token, " + count + " tokens, a vocabulary of "
                        + vocabulary + ", a description of " + description + " bytes");
            }
            int begin = begin(description);
            if (bytes < begin || (bytes - begin) % width != 0 || (bytes - begin) / width != count) {
                throw new DatasetException(file + ": damaged token shard: " + count + " tokens of " + width + " bytes behind " + begin
                        + " are not the " + bytes + " bytes of the file");
            }
            String tokenizer = StandardCharsets.UTF_8.newDecoder().decode(content.asSlice(HEADER, description).asByteBuffer()).toString();
            return new TokenShards(List.of(new Shard(file, content.asSlice(begin), width == 4, count)), vocabulary, tokenizer);
        } catch (CharacterCodingException e) {
            throw new DatasetException(file + ": damaged token shard: its description is no UTF-8", e);
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be read: " + e, e);
        }
    }

    /** Number of tokens. */
    public long size() {
        return size;
    }

    /** Number of different tokens there can be. */
    public int vocabulary() {
        return vocabulary;
    }

    /** The description of the tokenizer that the files were written with. */
    public String tokenizer() {
        return tokenizer;
    }

    /**
     * Copies {@code n} tokens from a place on to {@code target[at]} and behind.
     *
     * @throws DatasetException if a token is none of the vocabulary
     * @throws IndexOutOfBoundsException if there are not as many
     */
    void copy(long from, int n, long[] target, int at) {
        java.util.Objects.checkFromIndexSize(from, n, size);
        long start = from;
        int done = 0;
        for (Shard shard : shards) {
            int part = (int) Math.min(n - done, Math.max(0, shard.count - start));
            for (int i = 0; i < part; i++) {
                long token = shard.wide ? shard.tokens.get(INT, (start + i) * 4) & 0xffffffffL : shard.tokens.get(SHORT, (start + i) * 2) & 0xffff;
                if (token >= vocabulary) {
                    throw new DatasetException(shard.file + ": damaged token shard: token " + (start + i) + " is " + token + " of a vocabulary of "
                            + vocabulary);
                }
                target[at + done + i] = token;
            }
            done += part;
            start = part > 0 ? 0 : start - shard.count;
        }
    }
}
