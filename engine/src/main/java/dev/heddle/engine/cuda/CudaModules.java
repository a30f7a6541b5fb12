// CUDA C++ text in, kernels out: compiled by NVRTC when first used, and kept on disk, because compiling takes longer than a
// short training run.
package dev.heddle.engine.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The kernels of a device, by source and name. Cubins are cached in {@code -Dheddle.cuda.cache} (default {@code heddle/cuda}
 * in {@code XDG_CACHE_HOME} or {@code ~/.cache}) under a hash of source, options, architecture and compiler.
 */
final class CudaModules {
    private static final Logger LOG = LoggerFactory.getLogger(CudaModules.class);
    /** No contraction to fused multiply-add: an expression gives the same bits whatever it is fused with. */
    private static final List<String> OPTIONS = List.of("--std=c++17", "--fmad=false");
    /** Keeps sources beside what was compiled from them ({@code -Dheddle.cuda.sources=true}). */
    private static final boolean SOURCES = Boolean.getBoolean("heddle.cuda.sources");
    private static final Map<String, String> FILES = new HashMap<>();

    private final CudaDevice device;
    private final List<String> options;
    private final Map<String, Long> modules = new HashMap<>(); // by hash of the source
    private long compiled;

    CudaModules(CudaDevice device, boolean contract) {
        this.device = device;
        options = new ArrayList<>(OPTIONS);
        if (contract) {
            options.remove("--fmad=false");
        }
        options.add("--gpu-architecture=" + architectureWithFeatures(device.architecture));
    }

    /** Hopper's own instructions are only in the target with an {@code a}. */
    private static String architectureWithFeatures(String architecture) {
        return architecture.equals("sm_90") ? "sm_90a" : architecture;
    }

    /**
     * A kernel.
     *
     * @param source CUDA C++; includes of {@code common.cuh} and {@code expression.cuh} are replaced by those files
     * @param name of an {@code extern "C"} function in it
     * @throws CudaException if the source does not compile, with the compiler's messages, or has no such function
     */
    synchronized long function(String source, String name) {
        device.enter();
        String text = source;
        for (String header : List.of("common.cuh", "expression.cuh")) {
            String include = "#include \"" + header + "\"";
            text = text.contains(include) ? text.replace(include, file(header)) : text;
        }
        String hash = hash(text);
        Long module = modules.get(hash);
        if (module == null) {
            module = Driver.moduleLoadData(cubin(text, name, hash));
            modules.put(hash, module);
        }
        return Driver.moduleGetFunction(module, name);
    }

    /** Number of sources compiled, not found on disk. */
    synchronized long compiled() {
        return compiled;
    }

    /** The text of a file of {@code cuda-src}. */
    static synchronized String file(String name) {
        return FILES.computeIfAbsent(name, n -> {
            try (InputStream in = CudaModules.class.getResourceAsStream("/dev/heddle/cuda-src/" + n)) {
                if (in == null) {
                    throw new CudaException("no kernel source " + n + " in the engine's jar");
                }
                return new String(in.readAllBytes(), StandardCharsets.UTF_8);
            } catch (IOException e) {
                throw new UncheckedIOException("kernel source " + n, e);
            }
        });
    }

    private byte[] cubin(String source, String name, String hash) {
        Path file = folder().resolve(hash + ".cubin");
        try {
            if (Files.isRegularFile(file)) {
                return Files.readAllBytes(file);
            }
        } catch (IOException e) {
            LOG.warn("cuda: cannot read {}: {}; compiling again", file, e.toString());
        }
        byte[] cubin = Nvrtc.compile(source, name + ".cu", options);
        compiled++;
        try {
            keep(file, cubin);
            if (SOURCES) {
                keep(folder().resolve(hash + ".cu"), source.getBytes(StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            LOG.warn("cuda: cannot keep the compiled kernel {} in {}: {}", name, file, e.toString());
        }
        return cubin;
    }

    /** Writes a file of the cache, whole or not at all. */
    static void keep(Path file, byte[] cubin) throws IOException {
        Files.createDirectories(file.getParent());
        Path temporary = Files.createTempFile(file.getParent(), "cubin", ".tmp");
        try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(cubin));
            channel.force(true);
        }
        Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    }

    /** The folder of the cache. */
    static Path folder() {
        String named = System.getProperty("heddle.cuda.cache");
        if (named != null) {
            return Path.of(named);
        }
        String cache = System.getenv("XDG_CACHE_HOME");
        return (cache == null || cache.isEmpty() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(cache))
                .resolve("heddle").resolve("cuda");
    }

    private String hash(String text) {
        Path library = CudaLibraries.NVRTC.path().normalize();
        return sha256(List.of(text, String.join(" ", options), Nvrtc.version(), String.valueOf(library.getParent())));
    }

    /** A name for files of the cache. */
    static String sha256(List<String> parts) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (String part : parts) {
                digest.update(part.getBytes(StandardCharsets.UTF_8));
                digest.update((byte) 0);
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 20);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
