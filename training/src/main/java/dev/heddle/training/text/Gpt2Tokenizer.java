// The tokens that GPT-2 was trained on.
package dev.heddle.training.text;

import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import com.knuddels.jtokkit.api.EncodingType;
import com.knuddels.jtokkit.api.IntArrayList;

/**
 * Byte-pair encoding of GPT-2 (Radford et al., 2019), by jtokkit, whose {@code r50k_base} it is: any text becomes tokens below
 * {@link #SIZE}, and back the same text. Text that looks like the special token is text.
 */
public final class Gpt2Tokenizer implements Tokenizer {
    /** Number of tokens. */
    public static final int SIZE = 50257;
    /** The token {@code <|endoftext|>} between texts. */
    public static final int END_OF_TEXT = 50256;

    private final Encoding encoding = Encodings.newLazyEncodingRegistry().getEncoding(EncodingType.R50K_BASE);

    @Override
    public int[] encode(String text) {
        return encoding.encodeOrdinary(text).toArray();
    }

    @Override
    public String decode(int... tokens) {
        IntArrayList list = new IntArrayList(tokens.length);
        for (int token : tokens) {
            if (token != END_OF_TEXT) {
                list.add(token);
            }
        }
        return encoding.decode(list);
    }
}
