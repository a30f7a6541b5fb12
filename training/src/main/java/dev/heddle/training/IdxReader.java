// Reads the IDX format, in which MNIST comes.
package dev.heddle.training;

import dev.heddle.engine.Shape;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.GZIPInputStream;

/**
 * IDX files of unsigned bytes, plain or gzipped: two zero bytes, the type (8), the number of axes, the extents as big-endian
 * 32-bit integers, the values (LeCun, Cortes and Burges). Nothing a file says about sizes is believed before it is checked.
 */
public final class IdxReader {
    private static final int UNSIGNED_BYTE = 8;
    private static final int MAX_AXES = 8;
    private static final long MAX_BYTES = 1L << 30;

    private IdxReader() {}

    /** Values and extents of a file. */
    public record Idx(byte[] values, Shape shape) {}

    /**
     * Reads a file.
     *
     * @param axes the number of axes expected
     * @throws DatasetException if the file cannot be read or is no such file; the message says what was found
     */
    public static Idx read(Path file, int axes) {
        try (InputStream raw = new BufferedInputStream(Files.newInputStream(file));
                DataInputStream in = new DataInputStream(isGzip(raw) ? new GZIPInputStream(raw) : raw)) {
            int zeros = in.readUnsignedShort();
            int type = in.readUnsignedByte();
            int rank = in.readUnsignedByte();
            if (zeros != 0 || type != UNSIGNED_BYTE || rank < 1 || rank > MAX_AXES) {
                throw new DatasetException(String.format("%s: no IDX file of bytes: begins with %04x %02x %02x", file, zeros, type, rank));
            }
            if (rank != axes) {
                throw new DatasetException(file + ": has " + rank + " axes where " + axes + " were expected");
            }
            long[] dims = new long[rank];
            long total = 1;
            for (int i = 0; i < rank; i++) {
                dims[i] = in.readInt();
                if (dims[i] < 0 || dims[i] > 0 && total > MAX_BYTES / dims[i]) {
                    throw new DatasetException(file + ": extent " + dims[i] + " of axis " + i + " is out of bounds");
                }
                total *= dims[i];
            }
            byte[] values = in.readNBytes((int) total);
            if (values.length < total) {
                throw new DatasetException(file + ": ends after " + values.length + " of " + total + " values");
            }
            if (in.read() >= 0) {
                throw new DatasetException(file + ": goes on behind its " + total + " values");
            }
            return new Idx(values, Shape.of(dims));
        } catch (EOFException e) {
            throw new DatasetException(file + ": is truncated", e);
        } catch (IOException e) {
            throw new DatasetException(file + ": cannot be read: " + e, e);
        }
    }

    private static boolean isGzip(InputStream in) throws IOException {
        in.mark(2);
        boolean gzip = in.read() == 0x1f && in.read() == 0x8b;
        in.reset();
        return gzip;
    }

    /**
     * Images and their labels as a dataset.
     *
     * @param images {@code (N, H, W)}
     * @param labels {@code (N)}
     * @throws DatasetException if a file is wrong, or they do not belong together, or a label is not in {@code [0, classes)}
     */
    public static ArrayDataset images(Path images, Path labels, int classes, float mean, float std) {
        Idx x = read(images, 3);
        Idx y = read(labels, 1);
        if (x.shape().dim(0) != y.shape().dim(0)) {
            throw new DatasetException(images + " has " + x.shape().dim(0) + " images, " + labels + " has " + y.shape().dim(0) + " labels");
        }
        long[] wide = new long[y.values().length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = y.values()[i] & 0xff;
        }
        return ArrayDataset.ofImages(x.values(), Shape.of(1, x.shape().dim(1), x.shape().dim(2)), wide, classes, mean, std);
    }
}
