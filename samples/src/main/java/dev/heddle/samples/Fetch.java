// Gets files that the samples need and that are too large to be part of them: by HTTP, or by another program.
package dev.heddle.samples;

import dev.heddle.training.DatasetException;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** Steps of fetching; whatever the source, the caller knows the checksum. Failures are told by adding a line to {@code attempts}. */
final class Fetch {
    private static final int SECONDS = 600; // for a program, which may download much

    /** Does something in a folder that is removed afterwards. */
    @FunctionalInterface
    interface Work<T> {
        T in(Path folder) throws IOException;
    }

    private Fetch() {}

    static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** What is at the first of some addresses that answers with what is right, or null. */
    static byte[] download(List<URI> addresses, Duration timeout, Predicate<byte[]> right, List<String> attempts) {
        try (HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).followRedirects(HttpClient.Redirect.NORMAL).build()) {
            for (URI uri : addresses) {
                try {
                    HttpResponse<byte[]> response = client.send(HttpRequest.newBuilder(uri).timeout(timeout).build(),
                            HttpResponse.BodyHandlers.ofByteArray());
                    if (response.statusCode() != 200) {
                        attempts.add(uri.getHost() + " answered " + response.statusCode());
                    } else if (!right.test(response.body())) {
                        attempts.add(uri + " has another checksum");
                    } else {
                        return response.body();
                    }
                } catch (IOException e) {
                    attempts.add(uri.getHost() + " was not reached: " + (e.getMessage() == null ? e.toString() : e.getMessage()));
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new DatasetException("interrupted while fetching " + uri, e);
                }
            }
        }
        return null;
    }

    static <T> T inTemporaryFolder(Work<T> work) throws IOException {
        Path folder = Files.createTempDirectory("heddle-fetch");
        try {
            return work.in(folder);
        } finally {
            try (Stream<Path> files = Files.walk(folder)) {
                for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(file);
                }
            }
        }
    }

    /** Runs a program in a folder; null if it succeeded, else why not. */
    static String run(Path folder, String... command) throws IOException {
        try {
            Process process = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true)
                    .redirectOutput(folder.resolve("output.log").toFile()).start();
            if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) {
                process.destroyForcibly();
                return command[0] + " took more than " + SECONDS + " seconds";
            }
            return process.exitValue() == 0 ? null : command[0] + " ended with status " + process.exitValue();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "interrupted";
        } catch (IOException e) {
            return command[0] + " is not installed";
        }
    }
}
