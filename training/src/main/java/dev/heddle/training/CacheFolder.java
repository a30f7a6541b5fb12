// Where things lie that were fetched or unpacked once and can be had again.
package dev.heddle.training;

import java.nio.file.Path;

/** Heddle's part of the user's cache folder. */
public final class CacheFolder {
    private CacheFolder() {}

    /** {@code $XDG_CACHE_HOME/heddle/name}, by default {@code ~/.cache/heddle/name}; it need not exist. */
    public static Path of(String name) {
        String xdg = System.getenv("XDG_CACHE_HOME");
        Path base = xdg == null || xdg.isBlank() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(xdg);
        return base.resolve("heddle").resolve(name);
    }
}
