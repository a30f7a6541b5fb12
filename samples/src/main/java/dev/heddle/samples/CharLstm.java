// A language model of characters without attention: what came before is in the state of an LSTM.
package dev.heddle.samples;

import dev.heddle.engine.Tensor;
import dev.heddle.layers.Embedding;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.Lstm;
import dev.heddle.layers.RecurrentLayer;
import dev.heddle.training.Losses;
import java.util.List;

/** Embedding, LSTM, head: tokens {@code (B, T)} to logits {@code (B, T, vocabulary)}. */
final class CharLstm extends Layer {
    private final Embedding embedding;
    private final Lstm lstm;
    private final Linear head;

    CharLstm(int vocabulary, int dim, int layers, double dropout) {
        embedding = child("embedding", new Embedding(vocabulary, dim));
        lstm = child("lstm", new Lstm(dim, dim, layers, false, dropout));
        head = child("head", new Linear(dim, vocabulary));
    }

    @Override
    public Tensor forward(Tensor tokens) {
        return forward(tokens, null).output();
    }

    /** As {@link #forward(Tensor)}, from the states that a run over the tokens before has left; null for the beginning. */
    RecurrentLayer.Result forward(Tensor tokens, List<Tensor> states) {
        RecurrentLayer.Result run = lstm.forward(embedding.forward(tokens), states, null); // (B, T, dim)
        return new RecurrentLayer.Result(head.forward(run.output()), run.states()); // (B, T, vocabulary)
    }

    /** The mean cross-entropy of the tokens that follow, {@code targets (B, T)}. */
    static Tensor loss(Tensor logits, Tensor targets) {
        return Losses.crossEntropy(logits.reshape(-1, logits.dim(2)), targets.reshape(-1));
    }
}
