// Characters as tokens: a vocabulary of a hundred or so, and nothing to learn beforehand.
package dev.heddle.samples;

import dev.heddle.training.text.Tokenizer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A vocabulary of characters; token 0 stands for all others. */
final class CharTokenizer implements Tokenizer {
    private static final char OTHER = '\uFFFD';
    private static final int RARE = 50; // characters met less often share token 0

    private final String vocabulary;
    private final Map<Character, Integer> tokens = new HashMap<>();

    /** A tokenizer that was saved, by {@link #vocabulary}. */
    CharTokenizer(String vocabulary) {
        this.vocabulary = vocabulary;
        for (int i = 0; i < vocabulary.length(); i++) {
            tokens.put(vocabulary.charAt(i), i);
        }
    }

    /** The characters that a text has often enough to learn them. */
    static CharTokenizer of(String text) {
        return of(List.of(text));
    }

    /** The characters that some texts have often enough. */
    static CharTokenizer of(Iterable<String> texts) {
        Map<Character, Integer> counts = new HashMap<>();
        long length = 0;
        for (String text : texts) {
            length += text.length();
            for (int i = 0; i < text.length(); i++) {
                counts.merge(text.charAt(i), 1, Integer::sum);
            }
        }
        long least = Math.min(RARE, Math.max(1, length / 10_000));
        return new CharTokenizer(OTHER + counts.entrySet().stream().filter(e -> e.getValue() >= least && e.getKey() != OTHER)
                .map(Map.Entry::getKey).sorted().map(String::valueOf).collect(Collectors.joining()));
    }

    /** All characters, in the order of their tokens. */
    String vocabulary() {
        return vocabulary;
    }

    int size() {
        return vocabulary.length();
    }

    @Override
    public int[] encode(String text) {
        return text.chars().map(c -> tokens.getOrDefault((char) c, 0)).toArray();
    }

    @Override
    public String decode(int... tokens) {
        StringBuilder text = new StringBuilder(tokens.length);
        for (int token : tokens) {
            text.append(vocabulary.charAt(token));
        }
        return text.toString();
    }
}
