// Intel's MKL, with which libtorch is fastest: it lies in a jar and must lie in files before a process can preload it.
package dev.heddle.bench.peer;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;

/** The libraries of {@code org.bytedeco:mkl} and the OpenMP of {@code org.bytedeco:pytorch}, unpacked once to the user's cache folder. */
final class Mkl {
    private static final String MKL = "org/bytedeco/mkl/linux-x86_64/";
    private static final String GOMP = "org/bytedeco/pytorch/linux-x86_64/libgomp.so.1";
    private static final List<String> LIBRARIES = List.of("libmkl_rt.so.2", "libmkl_core.so.2", "libmkl_intel_lp64.so.2", "libmkl_gnu_thread.so.2",
            "libmkl_def.so.2", "libmkl_avx2.so.2", "libmkl_avx512.so.2", "libmkl_vml_def.so.2", "libmkl_vml_avx2.so.2", "libmkl_vml_avx512.so.2");

    private Mkl() {}

    /** {@code $XDG_CACHE_HOME/heddle}, by default {@code ~/.cache/heddle}. */
    static Path cache() {
        String base = System.getenv("XDG_CACHE_HOME");
        return (base == null || base.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(base)).resolve("heddle");
    }

    /** What {@code LD_PRELOAD} must name; null where no MKL is on the class path. */
    static String preload() throws IOException {
        if (Mkl.class.getClassLoader().getResource(MKL + LIBRARIES.getFirst()) == null) {
            return null;
        }
        Path gomp = unpack(GOMP);
        Path mkl = unpack(MKL + LIBRARIES.getFirst());
        for (String library : LIBRARIES) { // it loads the others by name from its own folder
            unpack(MKL + library);
        }
        return gomp + ":" + mkl;
    }

    /** To a folder with the name of the jar. */
    private static Path unpack(String name) throws IOException {
        URL resource = Mkl.class.getClassLoader().getResource(name);
        if (resource == null || !(resource.openConnection() instanceof JarURLConnection connection)) {
            throw new IOException(name + " is in no jar on the class path");
        }
        connection.setUseCaches(false); // or the jar would stay open
        try (InputStream content = connection.getInputStream()) {
            String jar = Path.of(connection.getJarFileURL().getPath()).getFileName().toString().replaceAll("\\.jar$", "");
            Path file = cache().resolve(jar).resolve(name.substring(name.lastIndexOf('/') + 1));
            long bytes = connection.getJarEntry().getSize();
            if (Files.isRegularFile(file) && Files.size(file) == bytes) {
                return file;
            }
            Files.createDirectories(file.getParent());
            Path part = Files.createTempFile(file.getParent(), file.getFileName().toString(), ".part");
            try {
                if (Files.copy(content, part, StandardCopyOption.REPLACE_EXISTING) != bytes) {
                    throw new IOException(name + ": unpacked " + Files.size(part) + " of " + bytes + " bytes");
                }
                Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(part);
            }
            return file;
        }
    }
}
