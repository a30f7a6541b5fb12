// Models by the names of their published sizes.
package dev.heddle.layers;

import java.util.Map;

/** What the models' methods {@code named} share. */
final class Sizes {
    private Sizes() {}

    /**
     * The configuration of a size.
     *
     * @param model for the error
     * @throws IllegalArgumentException if there is no such size
     */
    static <C> C get(Map<String, C> sizes, String model, String size) {
        C config = sizes.get(size);
        if (config == null) {
            throw new IllegalArgumentException(model + ": no size '" + size + "'; there are " + sizes.keySet().stream().sorted().toList());
        }
        return config;
    }
}
