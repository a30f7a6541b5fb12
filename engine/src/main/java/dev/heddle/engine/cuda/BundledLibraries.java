// CUDA libraries that jars on the class path carry: org.bytedeco:cuda-redist has NVRTC, so that a machine with nothing but a
// driver, or a build server with not even that, can compile kernels.
package dev.heddle.engine.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URI;
import java.net.URL;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;

/** Unpacking of libraries to the user's cache folder, {@code $XDG_CACHE_HOME/heddle}, by default {@code ~/.cache/heddle}. */
final class BundledLibraries {
    private BundledLibraries() {
    }

    /**
     * Unpacks {@code file} and those files beside it whose names match one of {@code companions}.
     *
     * @return the folder that holds them, or null if nothing on the class path has {@code file}
     */
    static Path unpack(String file, List<String> companions) throws IOException {
        String architecture = System.getProperty("os.arch").equals("aarch64") ? "arm64" : "x86_64";
        URL resource = BundledLibraries.class.getResource("/org/bytedeco/cuda/linux-" + architecture + "/" + file);
        if (resource == null) {
            return null;
        }
        if (resource.getProtocol().equals("file")) {
            return Path.of(URI.create(resource.toString())).getParent();
        }
        if (!(resource.openConnection() instanceof JarURLConnection connection)) {
            throw new IOException("cannot unpack " + resource);
        }
        connection.setUseCaches(false); // or the jar would stay open
        try (JarFile jar = connection.getJarFile()) {
            JarEntry library = connection.getJarEntry();
            String inside = library.getName().substring(0, library.getName().length() - file.length());
            Path folder = cache().resolve(Path.of(jar.getName()).getFileName().toString().replaceAll("\\.jar$", ""))
                    .resolve(Long.toHexString(library.getCrc()));
            Files.createDirectories(folder);
            unpack(jar, library, folder.resolve(file));
            for (JarEntry entry : jar.stream().filter(e -> e.getName().startsWith(inside)).toList()) {
                String name = entry.getName().substring(inside.length());
                if (!name.contains("/") && companions.stream().anyMatch(name::matches)) {
                    unpack(jar, entry, folder.resolve(name));
                }
            }
            return folder;
        }
    }

    private static Path cache() {
        String base = System.getenv("XDG_CACHE_HOME");
        return base == null || base.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache", "heddle")
                : Path.of(base, "heddle");
    }

    private static void unpack(JarFile jar, JarEntry entry, Path file) throws IOException {
        if (Files.isRegularFile(file) && Files.size(file) == entry.getSize()) {
            return;
        }
        Path part = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".part");
        try {
            try (InputStream content = jar.getInputStream(entry)) {
                Files.copy(content, part, StandardCopyOption.REPLACE_EXISTING);
            }
            if (Files.size(part) != entry.getSize()) {
                throw new IOException(entry.getName() + ": unpacked " + Files.size(part) + " of " + entry.getSize() + " bytes");
            }
            try (FileChannel channel = FileChannel.open(part, StandardOpenOption.WRITE)) {
                channel.force(true);
            }
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(part);
        }
    }
}
