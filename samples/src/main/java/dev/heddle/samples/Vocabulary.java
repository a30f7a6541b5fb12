// A tokenizer together with what models and files must know of it.
package dev.heddle.samples;

import dev.heddle.training.CheckpointException;
import dev.heddle.training.text.Gpt2Tokenizer;
import dev.heddle.training.text.Tokenizer;
import java.util.List;

/**
 * The tokens of a language model.
 *
 * @param description from which {@link #parse} makes the vocabulary again
 * @param size number of tokens
 * @param end the token behind each text, or -1 for none
 */
record Vocabulary(String description, Tokenizer tokenizer, int size, int end) {
    private static final String GPT2 = "gpt2";
    private static final String CHARACTERS = "char:";

    /** What the command line calls them. */
    enum Kind {
        CHAR, GPT2;

        /** The vocabulary for some texts, which only characters depend on. */
        Vocabulary of(Iterable<String> texts) {
            return this == GPT2 ? gpt2() : characters(CharTokenizer.of(texts));
        }

        @Override
        public String toString() {
            return name().toLowerCase(java.util.Locale.ROOT);
        }
    }

    static Vocabulary gpt2() {
        return new Vocabulary(GPT2, new Gpt2Tokenizer(), Gpt2Tokenizer.SIZE, Gpt2Tokenizer.END_OF_TEXT);
    }

    static Vocabulary characters(CharTokenizer tokenizer) {
        return new Vocabulary(CHARACTERS + tokenizer.vocabulary(), tokenizer, tokenizer.size(), -1);
    }

    /**
     * A vocabulary by its description.
     *
     * @throws CheckpointException if it is none
     */
    static Vocabulary parse(String description) {
        if (description.equals(GPT2)) {
            return gpt2();
        }
        if (!description.startsWith(CHARACTERS) || description.length() == CHARACTERS.length()) {
            throw new CheckpointException("no tokenizer is called '" + description.substring(0, Math.min(20, description.length())) + "'; there are "
                    + List.of(Kind.values()));
        }
        return characters(new CharTokenizer(description.substring(CHARACTERS.length())));
    }

    /** What a token is, for messages. */
    String unit() {
        return description.equals(GPT2) ? "token" : "character";
    }
}
