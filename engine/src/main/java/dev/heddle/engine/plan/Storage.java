// A piece of memory that a plan works on.
package dev.heddle.engine.plan;

/**
 * Memory of one kind.
 *
 * @param kind where it comes from
 * @param index value number of a {@code SOURCE} or {@code SCALAR}, slot of a {@code STATE}, place of a {@code ROOT}
 * @param bytes its size
 */
record Storage(Kind kind, int index, long bytes) {
    /** Where memory comes from. */
    enum Kind {
        /** The plan's scratch memory, shared by values that do not live at the same time. */
        ARENA,
        /** A number given with each run. */
        SCALAR,
        /** A tensor given with each run. */
        SOURCE,
        /** A variable's memory. */
        STATE,
        /** A result's memory. */
        ROOT
    }
}
