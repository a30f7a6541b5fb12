// Where text becomes numbers.
package dev.heddle.training.text;

/** Cuts text into tokens of a vocabulary. */
public interface Tokenizer {
    /** The tokens of a text, with those that the model expects around it. */
    int[] encode(String text);

    /** The text of tokens, without those that stand for no text. */
    String decode(int... tokens);
}
