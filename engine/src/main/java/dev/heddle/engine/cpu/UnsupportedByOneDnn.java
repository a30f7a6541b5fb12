// Why oneDNN is passed over for an operation: a normal outcome of planning, which the caller answers with another path.
package dev.heddle.engine.cpu;

/** oneDNN has no implementation worth running. */
final class UnsupportedByOneDnn extends Exception {
    private static final long serialVersionUID = 1L;

    UnsupportedByOneDnn(String message) {
        super(message, null, false, false);
    }
}
