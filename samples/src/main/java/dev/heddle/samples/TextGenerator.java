// Writes text with a language model, one token at a time.
package dev.heddle.samples;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.Gpt;
import dev.heddle.layers.KeyValueCache;
import dev.heddle.layers.RecurrentLayer;
import dev.heddle.training.text.Tokenizer;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import java.util.SplittableRandom;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;

/**
 * Samples from the model's distribution, made sharper by a low temperature, and cut to its {@code topK} likeliest tokens and to
 * those that make up {@code topP} of the probability (Holtzman et al., 2020).
 */
final class TextGenerator {
    private static final char INCOMPLETE = '\uFFFD'; // what the first bytes of a character are decoded to
    private static final int LONGEST_CHARACTER = 4; // bytes, so tokens at most

    /** A model that has read some tokens. */
    private interface Reader {
        /** Reads on; the logits of what follows the last token. */
        float[] next(int[] tokens);
    }

    private final Supplier<Reader> readers;
    private final int context; // how many tokens a reader can read
    private final Tokenizer tokenizer;
    private final double temperature;
    private final int topK;
    private final double topP;
    private final SplittableRandom random;

    /** Temperature 0 always takes the likeliest token. */
    TextGenerator(Gpt model, Tokenizer tokenizer, double temperature, int topK, double topP, long seed) {
        this(() -> new GptReader(model), model.config().context(), tokenizer, temperature, topK, topP, seed);
        model.eval();
    }

    /** The same with an LSTM. */
    TextGenerator(CharLstm model, Tokenizer tokenizer, double temperature, int topK, double topP, long seed) {
        this(() -> new LstmReader(model), Integer.MAX_VALUE, tokenizer, temperature, topK, topP, seed);
        model.eval();
    }

    private TextGenerator(Supplier<Reader> readers, int context, Tokenizer tokenizer, double temperature, int topK, double topP, long seed) {
        if (!(temperature >= 0) || topK < 1 || !(topP > 0 && topP <= 1)) {
            throw new IllegalArgumentException("generate: temperature " + temperature + ", top-k " + topK + ", top-p " + topP);
        }
        this.readers = readers;
        this.context = context;
        this.tokenizer = tokenizer;
        this.temperature = temperature;
        this.topK = topK;
        this.topP = topP;
        random = new SplittableRandom(seed);
    }

    /** The prompt and {@code count} tokens behind it. */
    String generate(String prompt, int count) {
        StringBuilder text = new StringBuilder(prompt);
        generate(prompt, count, text::append);
        return text.toString();
    }

    /** Gives text to a consumer as it comes. */
    void generate(String prompt, int count, Consumer<String> consumer) {
        int[] history = tokenizer.encode(prompt.isEmpty() ? "\n" : prompt);
        history = Arrays.copyOfRange(history, Math.max(0, history.length - context / 2), history.length);
        Reader reader = readers.get();
        int read = 0;
        int[] pending = history; // tokens that the reader has not seen
        int told = history.length; // tokens that the consumer has seen
        for (int i = 0; i < count; i++) {
            if (read + pending.length > context) { // full: go on from the second half
                reader = readers.get();
                read = 0;
                pending = Arrays.copyOfRange(history, history.length - context / 2, history.length);
            }
            read += pending.length;
            int next = sample(reader.next(pending));
            pending = new int[] {next};
            history = Arrays.copyOf(history, history.length + 1);
            history[history.length - 1] = next;
            String text = tokenizer.decode(Arrays.copyOfRange(history, told, history.length));
            boolean incomplete = text.indexOf(INCOMPLETE) >= 0 && history.length - told < LONGEST_CHARACTER && i + 1 < count;
            if (!incomplete) {
                consumer.accept(text);
                told = history.length;
            }
        }
    }

    private static Tensor batch(int[] tokens) {
        return Tensor.of(Arrays.stream(tokens).asLongStream().toArray(), 1, tokens.length); // (1, T)
    }

    /** Keys and values of what was read. */
    private static final class GptReader implements Reader {
        private final Gpt model;
        private final List<KeyValueCache> caches;

        GptReader(Gpt model) {
            this.model = model;
            caches = model.caches();
        }

        @Override
        public float[] next(int[] tokens) {
            float[] logits = model.forward(batch(tokens), caches).slice(1, tokens.length - 1, tokens.length).toFloatArray(); // (1, 1, vocabulary)
            caches.forEach(KeyValueCache::settle);
            return logits;
        }
    }

    /** The states behind what was read. */
    private static final class LstmReader implements Reader {
        private final CharLstm model;
        private List<Tensor> states;

        LstmReader(CharLstm model) {
            this.model = model;
        }

        @Override
        public float[] next(int[] tokens) {
            RecurrentLayer.Result run = model.forward(batch(tokens), states);
            Tensor logits = run.output().slice(1, tokens.length - 1, tokens.length); // (1, 1, vocabulary)
            states = run.states().stream().map(Tensor::detach).toList(); // without the recipe, which would reach back to the first token
            Tensor.eval(Stream.concat(Stream.of(logits), states.stream()).toArray(Tensor[]::new));
            return logits.toFloatArray();
        }
    }

    private int sample(float[] logits) {
        Comparator<Integer> worstFirst = Comparator.comparingDouble((Integer i) -> logits[i]).thenComparing(Comparator.reverseOrder());
        PriorityQueue<Integer> best = new PriorityQueue<>(worstFirst);
        for (int i = 0; i < logits.length; i++) {
            if (best.size() == topK && logits[i] > logits[best.element()]) {
                best.remove();
            }
            if (best.size() < topK) {
                best.add(i);
            }
        }
        int[] order = best.stream().sorted(worstFirst.reversed()).mapToInt(i -> i).toArray();
        if (temperature == 0) {
            return order[0];
        }
        double[] p = new double[order.length];
        double sum = 0;
        for (int i = 0; i < p.length; i++) {
            p[i] = Math.exp((logits[order[i]] - logits[order[0]]) / temperature);
            sum += p[i];
        }
        double kept = 0;
        int last = 0;
        while (last < p.length && kept < topP * sum) {
            kept += p[last++];
        }
        double u = random.nextDouble() * kept;
        for (int i = 0; i < last; i++) {
            u -= p[i];
            if (u < 0) {
                return order[i];
            }
        }
        return order[last - 1];
    }
}
