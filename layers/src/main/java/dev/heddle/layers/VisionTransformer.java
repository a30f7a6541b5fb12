// Images as sequences of patches: the transformer of BERT and GPT, without a convolution but the one that cuts the patches.
package dev.heddle.layers;

import dev.heddle.engine.Activations;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Images {@code (N, channels, image, image)} to logits {@code (N, classes)} (Dosovitskiy et al., "An image is worth 16x16 words",
 * 2021): a vector for each patch, a learned one for the image as a whole in front, learned positions, blocks with the norm in front;
 * the class is told from what becomes of the first vector.
 */
public final class VisionTransformer extends Layer {
    private static final double STD = 0.02;
    private static final double EPS = 1e-12; // as Hugging Face has it
    private static final Map<String, Config> SIZES = Map.of(
            "vit-tiny", new Config(224, 16, 3, 1000, 12, 3, 192, 768, 0),
            "vit-small", new Config(224, 16, 3, 1000, 12, 6, 384, 1536, 0),
            "vit-base", new Config(224, 16, 3, 1000, 12, 12, 768, 3072, 0));

    /**
     * What a model is made of.
     *
     * @param image height and width of an image
     * @param patch height and width of a patch; divides {@code image}
     * @param channels of an image
     * @param classes to tell apart
     * @param layers number of blocks
     * @param heads attention heads of a block
     * @param dim features of a position
     * @param hidden features inside a block's feed-forward network
     * @param dropout in training, of embeddings and of what blocks add
     */
    public record Config(int image, int patch, int channels, int classes, int layers, int heads, int dim, int hidden, double dropout) {
        /** Checks that patches fill the image. */
        public Config {
            if (patch < 1 || image < patch || image % patch != 0) {
                throw new IllegalArgumentException("vision transformer: patches of " + patch + " for images of " + image);
            }
        }

        /** Number of patches. */
        public int patches() {
            return image / patch * (image / patch);
        }
    }

    private final Config config;
    private final Conv2d patches;
    private final Variable classToken;
    private final Variable positions;
    private final Dropout dropout;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final LayerNorm norm;
    private final Linear head;

    /** A model with random weights: matrices by Glorot and Bengio's rule, vectors of positions normal, of standard deviation 0.02. */
    public VisionTransformer(Config config) {
        this.config = config;
        int dim = config.dim;
        patches = child("patches", Conv2d.of(config.channels, dim, config.patch).stride(config.patch).build());
        classToken = parameter("class_token", Init.truncatedNormal(0, STD, 1, 1, dim));
        positions = parameter("positions", Init.truncatedNormal(0, STD, 1, 1 + config.patches(), dim));
        dropout = child("dropout", new Dropout(config.dropout));
        for (int i = 0; i < config.layers; i++) {
            blocks.add(child("block" + i, new TransformerBlock(new LayerNorm(dim, EPS), new MultiHeadAttention(dim, config.heads, false),
                    new LayerNorm(dim, EPS), new FeedForward(dim, config.hidden, Activations::gelu), config.dropout, true)));
        }
        norm = child("norm", new LayerNorm(dim, EPS));
        head = child("head", new Linear(dim, config.classes));
        Init.linears(this, shape -> Init.xavierUniform(1, shape));
    }

    /**
     * A model of a known size for images of 224 x 224 in patches of 16 and 1000 classes: {@code vit-tiny} (5.7M parameters) and
     * {@code vit-small} (22M) of Touvron et al., 2021, {@code vit-base} (87M).
     *
     * @throws IllegalArgumentException if there is no such size
     */
    public static VisionTransformer named(String size) {
        return new VisionTransformer(Sizes.get(SIZES, "vision transformer", size));
    }

    /** What the model is made of. */
    public Config config() {
        return config;
    }

    @Override
    public Tensor forward(Tensor x) {
        return head.forward(features(x).select(1, 0)); // (N, 1 + patches, C) -> (N, classes)
    }

    /**
     * The image as a whole, then each patch, row by row.
     *
     * @return {@code (N, 1 + patches, C)}
     * @throws ShapeException if the images have another size
     */
    public Tensor features(Tensor x) {
        if (x.rank() != 4 || x.dim(1) != config.channels || x.dim(2) != config.image || x.dim(3) != config.image) {
            throw new ShapeException("vision transformer: input " + x.shape() + " for images of " + config.channels + " channels, " + config.image
                    + " x " + config.image);
        }
        Tensor h = patches.forward(x).flatten(2, 3).transpose(1, 2); // (N, C, image/patch, image/patch) -> (N, patches, C)
        h = Tensor.concat(1, classToken.value().expand(x.dim(0), 1, config.dim), h); // (N, 1 + patches, C)
        h = dropout.forward(h.add(positions.value()));
        for (TransformerBlock block : blocks) {
            h = block.forward(h);
        }
        return norm.forward(h);
    }
}
