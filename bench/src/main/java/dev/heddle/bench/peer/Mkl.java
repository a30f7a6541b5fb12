// Intel's MKL, with which libtorch is fastest: it lies in a jar and must lie in files before a process can preload it.
package dev.heddle.bench.peer;

import dev.heddle.training.AtomicFile;
import dev.heddle.training.CacheFolder;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The libraries of {@code org.bytedeco:mkl} and the OpenMP of {@code org.bytedeco:pytorch}, unpacked once to the user's cache folder. */
final class Mkl {
    private static final String MKL = "org/bytedeco/mkl/linux-x86_64/";
    private static final String GOMP = "org/bytedeco/pytorch/linux-x86_64/libgomp.so.1";
    private static final List<String> LIBRARIES = List.of("libmkl_rt.so.2", "libmkl_core.so.2", "libmkl_intel_lp64.so.2", "libmkl_gnu_thread.so.2",
            "libmkl_def.so.2", "libmkl_avx2.so.2", "libmkl_avx512.so.2", "libmkl_vml_def.so.2", "libmkl_vml_avx2.so.2", "libmkl_vml_avx512.so.2");

    private Mkl() {}

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
            Path file = CacheFolder.of(jar).resolve(name.substring(name.lastIndexOf('/') + 1));
            long bytes = connection.getJarEntry().getSize();
            if (Files.isRegularFile(file) && Files.size(file) == bytes) {
                return file;
            }
            AtomicFile.write(file, channel -> {
                long copied = content.transferTo(Channels.newOutputStream(channel));
                if (copied != bytes) {
                    throw new IOException(name + ": unpacked " + copied + " of " + bytes + " bytes");
                }
            });
            return file;
        }
    }
}
