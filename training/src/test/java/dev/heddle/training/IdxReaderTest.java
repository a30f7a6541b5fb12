// IDX files: what is read, and that nothing wrong is.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class IdxReaderTest {
    @TempDir
    private Path folder;

    private static byte[] idx(int type, int[] extents, byte... values) {
        ByteBuffer bytes = ByteBuffer.allocate(4 + 4 * extents.length + values.length);
        bytes.put((byte) 0).put((byte) 0).put((byte) type).put((byte) extents.length);
        for (int extent : extents) {
            bytes.putInt(extent);
        }
        return bytes.put(values).array();
    }

    private static byte[] gzip(byte[] bytes) throws IOException {
        ByteArrayOutputStream zipped = new ByteArrayOutputStream();
        try (OutputStream out = new GZIPOutputStream(zipped)) {
            out.write(bytes);
        }
        return zipped.toByteArray();
    }

    private Path file(String name, byte[] content) throws IOException {
        return Files.write(folder.resolve(name), content);
    }

    private void refused(byte[] content, int axes, String... words) throws IOException {
        Path file = file("broken", content);
        String message = assertThrows(DatasetException.class, () -> IdxReader.read(file, axes)).getMessage();
        assertTrue(message.contains(file.toString()), message);
        for (String word : words) {
            assertTrue(message.contains(word), message);
        }
    }

    private static final byte[] GOOD = idx(8, new int[] {2, 1, 3}, (byte) 1, (byte) 2, (byte) 3, (byte) -1, (byte) 0, (byte) 9);

    @Test
    void readsPlainAndZippedFiles() throws IOException {
        for (byte[] content : new byte[][] {GOOD, gzip(GOOD)}) {
            IdxReader.Idx idx = IdxReader.read(file("good", content), 3);
            assertEquals(Shape.of(2, 1, 3), idx.shape());
            assertArrayEquals(new byte[] {1, 2, 3, -1, 0, 9}, idx.values());
        }
        assertEquals(Shape.of(0, 28, 28), IdxReader.read(file("none", idx(8, new int[] {0, 28, 28})), 3).shape());
    }

    @Test
    void everyTruncationIsRefused() throws IOException {
        for (int length = 0; length < GOOD.length; length++) {
            refused(Arrays.copyOf(GOOD, length), 3);
        }
        byte[] zipped = gzip(GOOD);
        for (int length = 0; length < zipped.length; length++) {
            refused(Arrays.copyOf(zipped, length), 3);
        }
    }

    @Test
    void wrongHeadersAreRefused() throws IOException {
        refused(Arrays.copyOf(GOOD, GOOD.length + 1), 3, "6 values");
        refused(gzip(Arrays.copyOf(GOOD, GOOD.length + 1)), 3, "6 values");
        refused(idx(13, new int[] {1}, new byte[4]), 1, "0d");
        refused(idx(8, new int[] {}), 0);
        refused(idx(8, new int[9], new byte[0]), 9);
        refused(GOOD, 1, "3 axes", "1 were expected");
        refused("P5 28 28 255 picture".getBytes(java.nio.charset.StandardCharsets.US_ASCII), 3, "5035");
        refused(idx(8, new int[] {-1}), 1, "-1");
        refused(idx(8, new int[] {Integer.MAX_VALUE, Integer.MAX_VALUE, Integer.MAX_VALUE}), 3, "out of bounds");
        refused(idx(8, new int[] {1 << 30}), 1, "0 of 1073741824");
        refused(idx(8, new int[] {1 << 16, 1 << 16}), 2, "out of bounds");
    }

    @Test
    void damagedZipsAreRefused() throws IOException {
        byte[] zipped = gzip(GOOD);
        for (int i = 10; i < zipped.length - 4; i++) { // behind the header, before the length
            byte[] damaged = zipped.clone();
            damaged[i] ^= 0x55;
            refused(damaged, 3);
        }
    }

    @Test
    void missingFilesAndFoldersAreNamed() throws IOException {
        Path missing = folder.resolve("missing");
        assertTrue(assertThrows(DatasetException.class, () -> IdxReader.read(missing, 1)).getMessage().contains("missing"));
        assertThrows(DatasetException.class, () -> IdxReader.read(folder, 1));
    }

    @Test
    void imagesAndLabelsMustBelongTogether() throws IOException {
        Path images = file("images", GOOD);
        ArrayDataset dataset = IdxReader.images(images, file("labels", idx(8, new int[] {2}, (byte) 9, (byte) 0)), 10, 0, 1);
        assertEquals(2, dataset.size());
        assertEquals(Shape.of(1, 1, 3), dataset.shape());
        try (Batch batch = dataset.batch(new int[] {0, 1}, 0)) {
            assertArrayEquals(new long[] {9, 0}, batch.target().toLongArray());
            assertEquals(1, batch.input().toFloatArray()[3], 1e-6);
        }
        Path three = file("three", idx(8, new int[] {3}, (byte) 1, (byte) 2, (byte) 3));
        String message = assertThrows(DatasetException.class, () -> IdxReader.images(images, three, 10, 0, 1)).getMessage();
        assertTrue(message.contains("2 images") && message.contains("3 labels"), message);
        Path ten = file("ten", idx(8, new int[] {2}, (byte) 1, (byte) 10));
        assertThrows(DatasetException.class, () -> IdxReader.images(images, ten, 10, 0, 1));
        Path negative = file("negative", idx(8, new int[] {2}, (byte) 1, (byte) -1));
        assertTrue(assertThrows(DatasetException.class, () -> IdxReader.images(images, negative, 10, 0, 1)).getMessage().contains("255"));
    }
}
