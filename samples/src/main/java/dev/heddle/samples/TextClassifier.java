// A pretrained encoder with a new head: what fine-tuning trains.
package dev.heddle.samples;

import dev.heddle.engine.DType;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Bert;
import dev.heddle.layers.Dropout;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;

/** Tokens {@code (N, T) I64}, padded with 0, to logits {@code (N, classes)}: a linear layer on the mean of the features. */
final class TextClassifier extends Layer {
    private final Bert bert;
    private final Dropout dropout;
    private final Linear head;

    TextClassifier(Bert bert, int classes) {
        this.bert = child("bert", bert);
        dropout = child("dropout", new Dropout(0.1));
        head = child("head", new Linear(bert.config().dim(), classes));
    }

    Linear head() {
        return head;
    }

    @Override
    public Tensor forward(Tensor x) {
        Tensor lengths = x.ne(0).to(DType.I64).sum(1).to(DType.I32); // (N)
        Tensor vectors = bert.embed(x, lengths).mul(Math.sqrt(bert.config().dim())); // (N, C), entries about 1
        return head.forward(dropout.forward(vectors)); // (N, classes)
    }
}
