// The geometry that convolution and pooling share: where a window sits on its input.
package dev.heddle.engine.op;

import dev.heddle.engine.ShapeException;
import java.util.List;

/**
 * How windows move over {@code d} spatial axes; every list has {@code d} entries.
 *
 * @param stride distance between windows, at least 1
 * @param before zeros ahead of the first element, {@code after} behind the last
 * @param dilation distance between the taps of a window, at least 1
 */
public record Window(List<Integer> stride, List<Integer> before, List<Integer> after, List<Integer> dilation) {
    public Window {
        stride = List.copyOf(stride);
        before = List.copyOf(before);
        after = List.copyOf(after);
        dilation = List.copyOf(dilation);
        int d = stride.size();
        boolean ok = before.size() == d && after.size() == d && dilation.size() == d;
        for (int i = 0; ok && i < d; i++) {
            ok = stride.get(i) >= 1 && dilation.get(i) >= 1 && before.get(i) >= 0 && after.get(i) >= 0;
        }
        if (!ok) {
            throw new ShapeException("window: stride " + stride + " padding " + before + " and " + after + " dilation " + dilation);
        }
    }

    /** Number of spatial axes. */
    public int dims() {
        return stride.size();
    }

    /**
     * Number of windows of {@code kernel} taps along spatial axis {@code i} of extent {@code size}.
     *
     * @throws ShapeException if not even one fits
     */
    public long outputs(String operation, int i, long size, long kernel) {
        long span = dilation.get(i) * (kernel - 1) + 1;
        long room = size + before.get(i) + after.get(i) - span;
        if (room < 0 || kernel < 1) {
            throw new ShapeException(operation + ": a window of " + span + " does not fit spatial axis " + i + " of extent "
                    + size + " padded by " + before.get(i) + " and " + after.get(i));
        }
        return room / stride.get(i) + 1;
    }
}
