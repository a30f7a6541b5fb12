// The element types of tensors, and the rules by which two of them combine.
package dev.heddle.engine;

/**
 * Element type of a {@link Tensor}. The names are those of the field: {@code F32} is an IEEE-754 binary32,
 * {@code BF16} is the upper half of a binary32, {@code U8} is unsigned, {@code BOOL} is one byte holding 0 or 1.
 */
public enum DType {
    /** IEEE-754 binary64. */
    F64(8, Kind.FLOAT),
    /** IEEE-754 binary32; the default type of parameters and activations. */
    F32(4, Kind.FLOAT),
    /** bfloat16: 8 bits of exponent, 7 of mantissa. Arithmetic is done in {@code F32} and rounded to nearest even. */
    BF16(2, Kind.FLOAT),
    /** IEEE-754 binary16. Arithmetic is done in {@code F32} and rounded to nearest even. */
    F16(2, Kind.FLOAT),
    /** Two's complement 64-bit integer; the type of indices and labels. */
    I64(8, Kind.INTEGER),
    /** Two's complement 32-bit integer. */
    I32(4, Kind.INTEGER),
    /** Unsigned 8-bit integer. */
    U8(1, Kind.INTEGER),
    /** Truth value, one byte, 0 or 1; the result of comparisons. */
    BOOL(1, Kind.BOOLEAN);

    private enum Kind { FLOAT, INTEGER, BOOLEAN }

    private final int bytes;
    private final Kind kind;

    DType(int bytes, Kind kind) {
        this.bytes = bytes;
        this.kind = kind;
    }

    /** Size of one element in bytes. */
    public int bytes() {
        return bytes;
    }

    /** Whether this is one of {@code F64}, {@code F32}, {@code BF16}, {@code F16}: the types that have gradients. */
    public boolean isFloat() {
        return kind == Kind.FLOAT;
    }

    /** Whether this is one of {@code I64}, {@code I32}, {@code U8}. */
    public boolean isInteger() {
        return kind == Kind.INTEGER;
    }

    /** The type arithmetic of this type is carried out in: {@code F32} for the 16-bit floats, itself otherwise. */
    public DType computeType() {
        return this == BF16 || this == F16 ? F32 : this;
    }

    /**
     * The type of {@code a op b}: the floating one if only one is; {@code F32} for {@code BF16} with {@code F16};
     * otherwise the wider of the two.
     */
    public static DType promote(DType a, DType b) {
        if (a == b) {
            return a;
        }
        if (a.kind != b.kind) {
            return a.kind.ordinal() < b.kind.ordinal() ? a : b;
        }
        if (a.bytes == b.bytes) { // only BF16 with F16
            return F32;
        }
        return a.bytes > b.bytes ? a : b;
    }
}
