// The error of a training run that has blown up.
package dev.heddle.training;

/** Thrown when the loss has become NaN or infinite; says in which epoch and by which step. */
public final class NonFiniteLossException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** @param epoch counted from 1 @param step of the epoch by which it was seen @param loss the sum of losses so far */
    public NonFiniteLossException(int epoch, int step, double loss) {
        super("training: the loss was " + loss + " in epoch " + epoch + " by step " + step
                + "; try a smaller learning rate or gradient clipping, or find the operation with -Dheddle.check=nan");
    }
}
