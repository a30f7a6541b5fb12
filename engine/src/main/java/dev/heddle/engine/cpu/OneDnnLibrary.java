// Finds, unpacks and loads the oneDNN library that org.bytedeco:dnnl carries. JavaCPP would do it too, but would put its
// own runtime, 3.6 MB of JNI code and its cache rules between the engine and a C API that needs none of them.
package dev.heddle.engine.cpu;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.net.JarURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** Loading of {@code libdnnl} and of the OpenMP runtime it is linked to. */
final class OneDnnLibrary {
    private static final String FOLDER = "/org/bytedeco/dnnl/linux-x86_64/";
    private static final String OPENMP = "libgomp.so.1";
    private static final String ONEDNN = "libdnnl.so.3";

    private OneDnnLibrary() {
    }

    /**
     * Symbols of both libraries, which stay loaded.
     *
     * @throws IOException saying why, if this platform has no library, the jar is not on the class path, or it cannot be
     *     unpacked to the user's cache folder ({@code $XDG_CACHE_HOME/heddle}, by default {@code ~/.cache/heddle})
     */
    @SuppressWarnings("restricted")
    static SymbolLookup load() throws IOException {
        String platform = System.getProperty("os.name") + "-" + System.getProperty("os.arch");
        if (!platform.equals("Linux-amd64")) {
            throw new IOException("there is a library for Linux-amd64 only, this is " + platform);
        }
        try {
            SymbolLookup openmp = SymbolLookup.libraryLookup(locate(OPENMP), Arena.global()); // before what needs it
            return SymbolLookup.libraryLookup(locate(ONEDNN), Arena.global()).or(openmp);
        } catch (IllegalArgumentException e) {
            throw new IOException("the loader refused: " + e.getMessage(), e);
        }
    }

    private static Path locate(String name) throws IOException {
        URL resource = OneDnnLibrary.class.getResource(FOLDER + name);
        if (resource == null) {
            throw new IOException("org.bytedeco:dnnl for linux-x86_64 is not on the class path (no " + FOLDER + name + ")");
        }
        if (resource.getProtocol().equals("file")) {
            return Path.of(URI.create(resource.toString()));
        }
        if (!(resource.openConnection() instanceof JarURLConnection connection)) {
            throw new IOException("cannot unpack " + resource);
        }
        connection.setUseCaches(false); // or the jar would stay open
        try (InputStream content = connection.getInputStream()) {
            String jar = Path.of(connection.getJarFileURL().getPath()).getFileName().toString();
            Path folder = cache().resolve(jar.replaceAll("\\.jar$", ""));
            long bytes = connection.getJarEntry().getSize();
            return unpack(content, folder.resolve(Long.toHexString(connection.getJarEntry().getCrc())), name, bytes);
        }
    }

    private static Path cache() {
        String base = System.getenv("XDG_CACHE_HOME");
        return base == null || base.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache", "heddle")
                : Path.of(base, "heddle");
    }

    private static Path unpack(InputStream content, Path folder, String name, long bytes) throws IOException {
        Path file = folder.resolve(name);
        if (Files.isRegularFile(file) && Files.size(file) == bytes) {
            return file;
        }
        Files.createDirectories(folder);
        Path part = Files.createTempFile(folder, name, ".part");
        try {
            Files.copy(content, part, StandardCopyOption.REPLACE_EXISTING);
            if (Files.size(part) != bytes) {
                throw new IOException(name + ": unpacked " + Files.size(part) + " of " + bytes + " bytes");
            }
            try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
                channel.force(true);
            }
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
        return file;
    }
}
