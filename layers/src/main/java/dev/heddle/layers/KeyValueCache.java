// What attention remembers while text is generated: a new token then costs one position, not the whole text again.
package dev.heddle.layers;

import dev.heddle.engine.Tensor;

/** Keys and values of the positions seen so far, {@code (B, G, S, D)} each, of one attention layer. */
public final class KeyValueCache {
    private Tensor keys;
    private Tensor values;

    /** An empty cache. */
    public KeyValueCache() {}

    /** Positions in the cache. */
    public long length() {
        return keys == null ? 0 : keys.dim(2);
    }

    /** Adds positions, {@code (B, G, T, D)}; gives all keys and all values. */
    Tensor[] add(Tensor k, Tensor v) {
        Tensor allKeys = keys == null ? k : Tensor.concat(2, keys, k);
        Tensor allValues = values == null ? v : Tensor.concat(2, values, v);
        keys = allKeys.detach().keep();
        values = allValues.detach().keep();
        return new Tensor[] {allKeys, allValues};
    }

    /** {@code (B, G, S, D)}. */
    Tensor keys() {
        return keys;
    }

    /** {@code (B, G, S, D)}. */
    Tensor values() {
        return values;
    }

    /** Computes what was recorded, so that the next step starts from values and not from their history. */
    public void settle() {
        if (keys != null) {
            Tensor.eval(keys, values);
        }
    }
}
