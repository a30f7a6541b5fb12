// Where the CUDA libraries are: users install them as a toolkit, as Python wheels or as a jar, and when one is missing they
// must be told where it was looked for and what the loader said.
package dev.heddle.engine.cuda;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The CUDA libraries of this machine. Each is looked for in the folder that {@code -Dheddle.cuda.home} names (and its
 * {@code lib64} and {@code lib}), in {@code CUDA_HOME} and {@code CUDA_PATH}, where the loader looks by itself, under
 * {@code /usr/local/cuda*}, among the {@code nvidia} wheels of Python environments, and in jars on the class path
 * ({@code org.bytedeco:cuda-redist} holds NVRTC). The driver, {@code libcuda}, comes with the kernel module: it is looked for
 * in {@code -Dheddle.cuda.home} and by the loader only.
 */
public final class CudaLibraries {
    /**
     * What became of one library.
     *
     * @param library its name, such as {@code libcublasLt}
     * @param path the file it was loaded from, or null if it could not be loaded
     * @param version the version it says it is, or null
     * @param problem what was tried and why that failed, with the loader's own words, or null if nothing is wrong
     */
    public record Found(String library, Path path, String version, String problem) {
        /** One line. */
        @Override
        public String toString() {
            return library + ": " + (path == null ? "not found" : path + ", " + version)
                    + (problem == null ? "" : " (" + problem + ")");
        }
    }

    static final NativeLibrary DRIVER =
            new NativeLibrary("libcuda", List.of("1"), List.of(), List.of(), Driver::failure);
    static final NativeLibrary NVRTC = new NativeLibrary("libnvrtc", List.of("13", "12"),
            List.of("libnvrtc-builtins\\.so\\.%s(\\..*)?"), List.of(), Nvrtc::failure);
    static final NativeLibrary CUBLAS_LT =
            new NativeLibrary("libcublasLt", List.of("13", "12"), List.of(), List.of(), CublasLt::failure);
    private static final NativeLibrary CUBLAS =
            new NativeLibrary("libcublas", List.of("13", "12"), List.of(), List.of(CUBLAS_LT), CublasLt::failure);
    /** Its parts open each other, and cuBLAS and NVRTC, by bare name: unless they are loaded, another copy may be found. */
    static final NativeLibrary CUDNN = new NativeLibrary("libcudnn", List.of("9"),
            Stream.of("graph", "engines_precompiled", "engines_runtime_compiled", "heuristic", "ops", "adv", "cnn")
                    .map(part -> "libcudnn_" + part + "\\.so\\.%s").toList(),
            List.of(CUBLAS_LT, CUBLAS, NVRTC), Cudnn::failure);

    private CudaLibraries() {
    }

    /** Every library, whether it could be loaded or not. Loads them. */
    public static List<Found> report() {
        return List.of(
                found(DRIVER, () -> dotted(Driver.version())),
                found(NVRTC, Nvrtc::version),
                found(CUBLAS_LT, CublasLt::versionText),
                found(CUDNN, Cudnn::versionText));
    }

    /**
     * Loads a library, so that others who link to it by name, JCuda's natives for instance, get the same one.
     *
     * @param library {@code libcuda}, {@code libnvrtc}, {@code libcublasLt}, {@code libcublas} or {@code libcudnn}
     * @return where it lies
     * @throws CudaException if it cannot be loaded, with what was tried and the loader's own words
     */
    public static Path load(String library) {
        NativeLibrary found = Stream.of(DRIVER, NVRTC, CUBLAS_LT, CUBLAS, CUDNN).filter(l -> l.name.equals(library)).findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no CUDA library that is known: " + library));
        if (!found.load()) {
            throw new CudaException(library + " was not found: " + String.join("; ", found.tried()));
        }
        return found.path();
    }

    private static Found found(NativeLibrary library, Supplier<String> version) {
        if (!library.load()) {
            return new Found(library.name, null, null, String.join("; ", library.tried()));
        }
        try {
            String binding = Bindings.CHOSEN == null ? "" : ", called through " + Bindings.NAME;
            return new Found(library.name, library.path(), version.get() + binding, null);
        } catch (CudaException e) {
            return new Found(library.name, library.path(), null, e.getMessage());
        }
    }

    /** {@code 13010} is {@code 13.1}. */
    static String dotted(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    /** Opens {@code library} in the first place that has it. */
    static void search(NativeLibrary library) {
        String system = System.getProperty("os.name");
        if (!system.equals("Linux")) {
            library.note("CUDA is supported on Linux only, this is " + system);
            return;
        }
        boolean _ = anyFolder(library, named(library)) || byName(library)
                || library != DRIVER && (anyFolder(library, toolkits()) || anyFolder(library, wheels()) || inJar(library));
    }

    /** The versions to try: those the driver is new enough for come first. */
    static List<String> preferred(List<String> versions) {
        boolean old = versions.contains("13") && DRIVER.load() && Driver.version() < 13000;
        return old ? versions.reversed() : versions;
    }

    private static boolean anyFolder(NativeLibrary library, Collection<Path> folders) {
        if (folders.stream().anyMatch(library::openIn)) {
            return true;
        }
        if (!folders.isEmpty()) {
            library.note(folders.stream().map(Path::toString).collect(Collectors.joining(", ", "none can be used in ", "")));
        }
        return false;
    }

    private static boolean byName(NativeLibrary library) {
        return preferred(library.versions).stream().anyMatch(version -> library.open(library.fileName(version)));
    }

    private static boolean inJar(NativeLibrary library) {
        for (String version : preferred(library.versions)) {
            String file = library.fileName(version);
            try {
                Path folder = BundledLibraries.unpack(file,
                        library.companions.stream().map(companion -> companion.formatted(version)).toList());
                if (folder != null && library.openIn(folder)) {
                    return true;
                }
            } catch (IOException e) {
                library.note(file + " of a jar: " + e.getMessage());
            }
        }
        library.note("no jar of the class path has a usable one");
        return false;
    }

    /** The folders that the user named. */
    private static List<Path> named(NativeLibrary library) {
        List<Path> homes = new ArrayList<>();
        addHome(homes, System.getProperty("heddle.cuda.home"));
        if (library != DRIVER) {
            addHome(homes, System.getenv("CUDA_HOME"));
            addHome(homes, System.getenv("CUDA_PATH"));
        }
        return homes;
    }

    private static void addHome(List<Path> folders, String home) {
        if (home != null && !home.isBlank()) {
            Path folder = Path.of(home);
            folders.addAll(List.of(folder, folder.resolve("lib64"), folder.resolve("lib")));
        }
    }

    /** {@code /usr/local/cuda}, then {@code /usr/local/cuda-13.1} and so on, newest first. */
    private static List<Path> toolkits() {
        return children(Path.of("/usr/local"), "cuda(-.*)?").stream()
                .sorted(Comparator.comparing((Path folder) -> folder.endsWith("cuda") ? 1 : 0)
                        .thenComparing(CudaLibraries::toolkitVersion).reversed())
                .map(folder -> folder.resolve("lib64")).toList();
    }

    private static double toolkitVersion(Path folder) {
        String version = folder.getFileName().toString().replaceAll("^cuda-?", "");
        return version.matches("\\d+(\\.\\d+)?") ? Double.parseDouble(version) : 0;
    }

    /** The {@code lib} folders of NVIDIA's wheels in the Python environments that can be guessed. */
    private static Set<Path> wheels() {
        Set<Path> prefixes = new LinkedHashSet<>();
        addPrefix(prefixes, System.getenv("VIRTUAL_ENV"));
        addPrefix(prefixes, System.getenv("CONDA_PREFIX"));
        String path = System.getenv("PATH");
        for (String folder : path == null ? new String[0] : path.split(File.pathSeparator)) {
            if (!folder.isEmpty() && Files.isExecutable(Path.of(folder, "python3"))) {
                addPrefix(prefixes, Path.of(folder).toAbsolutePath().getParent().toString());
            }
        }
        prefixes.addAll(List.of(Path.of(System.getProperty("user.home"), ".local"), Path.of("/usr/local"), Path.of("/usr")));
        Set<Path> folders = new LinkedHashSet<>();
        for (Path prefix : prefixes) {
            for (Path python : children(prefix.resolve("lib"), "python3.*")) {
                for (String packages : List.of("site-packages", "dist-packages")) {
                    Path nvidia = python.resolve(packages).resolve("nvidia");
                    Stream.concat(Stream.of(nvidia.resolve("cu13")), children(nvidia, ".*").stream())
                            .map(wheel -> wheel.resolve("lib")).filter(Files::isDirectory).forEach(folders::add);
                }
            }
        }
        return folders;
    }

    private static void addPrefix(Set<Path> prefixes, String prefix) {
        if (prefix != null && !prefix.isBlank()) {
            prefixes.add(Path.of(prefix));
        }
    }

    /** The files of {@code folder} whose names match; none if there is no such folder. */
    static List<Path> children(Path folder, String pattern) {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(file -> file.getFileName().toString().matches(pattern)).sorted().toList();
        } catch (IOException e) {
            return List.of(); // an unreadable folder holds nothing for us
        }
    }
}
