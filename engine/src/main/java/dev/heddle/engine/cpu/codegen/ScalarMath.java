// What the scalar loops call where Java's operators do not mean what the expression language means, and the few things
// the vector loops do lane by lane.
package dev.heddle.engine.cpu.codegen;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;

/** Scalar functions of the generated loops. Double precision goes through StrictMath: the same bits on every machine. */
final class ScalarMath {
    private ScalarMath() {}

    /** {@code a / b} truncated; 0 for {@code b = 0}. */
    static long divide(long a, long b) {
        return b == 0 ? 0 : a / b;
    }

    /** {@code a / b} truncated; 0 for {@code b = 0}. */
    static int divide(int a, int b) {
        return b == 0 ? 0 : a / b;
    }

    /** Remainder with the sign of the divisor; 0 for {@code b = 0}. */
    static long remainder(long a, long b) {
        return b == 0 ? 0 : Math.floorMod(a, b);
    }

    /** Remainder with the sign of the divisor; 0 for {@code b = 0}. */
    static int remainder(int a, int b) {
        return b == 0 ? 0 : Math.floorMod(a, b);
    }

    /** Remainder with the sign of the divisor. */
    static double remainder(double a, double b) {
        double r = a % b;
        return r < 0 && b > 0 || r > 0 && b < 0 ? r + b : r;
    }

    /** Remainder with the sign of the divisor. */
    static float remainder(float a, float b) {
        float r = a % b;
        return r < 0 && b > 0 || r > 0 && b < 0 ? r + b : r;
    }

    /** {@code a^b} in wrapping arithmetic; for negative {@code b} what is left of {@code 1 / a^-b} after truncation. */
    static long power(long a, long b) {
        if (b < 0) {
            return a == 1 ? 1 : a == -1 ? (b & 1) == 0 ? 1 : -1 : 0;
        }
        long result = 1;
        for (long square = a; b > 0; b >>= 1, square *= square) {
            if ((b & 1) != 0) {
                result *= square;
            }
        }
        return result;
    }

    /** As the {@code long} one, in {@code int}. */
    static int power(int a, int b) {
        return (int) power((long) a, b);
    }

    /** {@code condition ? a : b}. */
    static double select(int condition, double a, double b) {
        return condition != 0 ? a : b;
    }

    /** {@code condition ? a : b}. */
    static long select(int condition, long a, long b) {
        return condition != 0 ? a : b;
    }

    /** {@code condition ? a : b}. */
    static int select(int condition, int a, int b) {
        return condition != 0 ? a : b;
    }

    /** {@code 1 / sqrt(x)}. */
    static double rsqrt(double x) {
        return 1 / Math.sqrt(x);
    }

    /** The error function, to about 1e-15: a series below 2.5, a continued fraction above. */
    static double erf(double x) {
        double a = Math.abs(x);
        if (!(a < 6)) {
            return Double.isNaN(x) ? x : Math.signum(x);
        }
        double square = a * a;
        double scale = StrictMath.exp(-square) * 0.5641895835477563; // 1 / sqrt(pi)
        if (a < 2.5) {
            double term = a; // 2/sqrt(pi) e^(-a^2) sum of 2^n a^(2n+1) / (1 3 5 ... (2n+1))
            double sum = a;
            for (int n = 1; term > 1e-17 * sum; n++) {
                term *= 2 * square / (2 * n + 1);
                sum += term;
            }
            return Math.copySign(2 * scale * sum, x);
        }
        double fraction = 0; // erfc(a) = e^(-a^2) / sqrt(pi) / (a + 1/2 / (a + 1 / (a + 3/2 / (a + ...))))
        for (int n = 60; n > 0; n--) {
            fraction = n / 2.0 / (a + fraction);
        }
        return Math.copySign(1 - scale / (a + fraction), x);
    }

    /** The nearest bfloat16, ties to even; NaN stays NaN. */
    static short toBf16(float x) {
        int bits = Float.floatToRawIntBits(x);
        return (short) (x != x ? bits >>> 16 | 0x40 : bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
    }

    /** The value of a bfloat16. */
    static float fromBf16(short x) {
        return Float.intBitsToFloat(x << 16);
    }

    /** Sine (cosine if {@code quarters} is 1) in the lanes set, for the few arguments that need more bits of pi to reduce. */
    static FloatVector sineWhere(VectorMask<Float> lanes, FloatVector x, int quarters, FloatVector otherwise) {
        FloatVector result = otherwise;
        for (int lane = 0; lane < lanes.length(); lane++) {
            if (lanes.laneIsSet(lane)) {
                double exact = quarters == 0 ? StrictMath.sin(x.lane(lane)) : StrictMath.cos(x.lane(lane));
                result = result.withLane(lane, (float) exact);
            }
        }
        return result;
    }
}
