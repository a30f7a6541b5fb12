// The elementary functions against double precision: over all magnitudes, where they are hard, and at special values.
package dev.heddle.engine.cpu.codegen;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.function.BinaryOperator;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.UnaryOperator;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import org.junit.jupiter.api.Test;

class VectorMathTest {
    private static final VectorSpecies<Float> S = FloatVector.SPECIES_PREFERRED;
    private static final float[] SPECIAL = {0f, -0f, 1f, -1f, 0.5f, -0.5f, 2f, -2f, 3f, -3f, 1.5f, 2.5f, -2.5f, 1e-45f, -1e-45f,
        1e-40f, -1e-40f, Float.MIN_NORMAL, -Float.MIN_NORMAL, 1e-8f, 8388607.5f, 8388608f, -8388607.5f, 16777217f, 88.72f, 88.73f,
        -87.3f, -87.4f, -103.9f, -104f, 0.99999994f, 1.0000001f, 1e30f, -1e30f, Float.MAX_VALUE, -Float.MAX_VALUE, Float.NaN,
        Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};

    /** Distance in units of the last place of the exact result; 0 where both are NaN or the same zero or infinity. */
    private static double ulps(float got, double exact) {
        float nearest = (float) exact;
        if (Float.isNaN(nearest) || Float.isNaN(got) || Float.isInfinite(nearest) || nearest == 0) {
            boolean same = Float.floatToIntBits(got) == Float.floatToIntBits(nearest);
            boolean nextToInfinity = Float.isInfinite(nearest) && Math.abs(exact) < 0x1p128 && Math.abs(got) == Float.MAX_VALUE;
            boolean nextToZero = nearest == 0 && exact != 0 && Math.abs(got) == Float.MIN_VALUE;
            return same ? 0 : nextToInfinity || nextToZero ? 1 : Double.POSITIVE_INFINITY;
        }
        return Math.abs(got - exact) / Math.ulp(nearest);
    }

    private static void check(String name, UnaryOperator<FloatVector> f, DoubleUnaryOperator exact, float low, float high,
            double bound) {
        check(name, f, exact, low, high, bound, 60_000);
    }

    private static void check(String name, UnaryOperator<FloatVector> f, DoubleUnaryOperator exact, float low, float high,
            double bound, int steps) {
        float[] x = new float[S.length()];
        float[] y = new float[S.length()];
        for (int i = 0; i < SPECIAL.length + 2 * steps; i += x.length) {
            for (int lane = 0; lane < x.length; lane++) {
                int k = i + lane - SPECIAL.length;
                x[lane] = k < 0 ? SPECIAL[i + lane]
                        : k < steps ? (float) (low + (high - (double) low) * k / steps) // the interesting range
                        : Float.intBitsToFloat((int) (0x1_0000_0000L * (k - steps) / steps)); // all magnitudes
            }
            f.apply(FloatVector.fromArray(S, x, 0)).intoArray(y, 0);
            for (int lane = 0; lane < x.length; lane++) {
                double want = exact.applyAsDouble(x[lane]);
                assertTrue(ulps(y[lane], want) <= bound, name + "(" + x[lane] + ") = " + y[lane] + ", exact " + want);
            }
        }
    }

    @Test
    void exponentials() {
        check("exp", VectorMath::exp, Math::exp, -104, 89, 1.5);
        check("expm1", VectorMath::expm1, Math::expm1, -2, 2, 1.7);
        check("tanh", VectorMath::tanh, Math::tanh, -3, 3, 2.5);
    }

    @Test
    void logarithms() {
        check("log", VectorMath::log, Math::log, 0, 4, 1, 10_000);
        check("log1p", VectorMath::log1p, Math::log1p, -1, 2, 1);
    }

    @Test
    void trigonometric() {
        check("sin", VectorMath::sin, Math::sin, -100, 100, 2.2);
        check("cos", VectorMath::cos, Math::cos, -100, 100, 2.2);
    }

    @Test
    void errorFunction() {
        check("erf", VectorMath::erf, ScalarMath::erf, -4.5f, 4.5f, 2.2);
    }

    @Test
    void errorFunctionOfDoubles() { // values of erf to 16 digits
        double[][] table = {{0, 0}, {1e-10, 1.1283791670955126e-10}, {0.1, 0.1124629160182849}, {0.5, 0.5204998778130465},
            {1, 0.8427007929497149}, {1.5, 0.9661051464753108}, {2, 0.9953222650189527}, {2.4, 0.9993114861033549},
            {2.6, 0.9997639655834707}, {3, 0.9999779095030014}, {4, 0.9999999845827421}, {5, 0.9999999999984626}, {7, 1}};
        for (double[] row : table) {
            assertEquals(row[1], ScalarMath.erf(row[0]), 2e-15 * row[1], "erf(" + row[0] + ")");
            assertEquals(-row[1], ScalarMath.erf(-row[0]), 2e-15 * row[1], "erf(-" + row[0] + ")");
        }
        assertTrue(Double.isNaN(ScalarMath.erf(Double.NaN)));
    }

    @Test
    void rounding() {
        check("round", VectorMath::round, Math::rint, -5, 5, 0);
        check("floor", VectorMath::floor, Math::floor, -5, 5, 0);
        check("ceil", VectorMath::ceil, Math::ceil, -5, 5, 0);
        check("sign", VectorMath::sign, Math::signum, -5, 5, 0);
        check("rsqrt", VectorMath::rsqrt, x -> 1 / (double) (float) Math.sqrt(x), 0, 5, 0.5);
    }

    @Test
    void powers() {
        BinaryOperator<FloatVector> f = VectorMath::pow;
        DoubleBinaryOperator exact = Math::pow;
        for (float y : SPECIAL) {
            FloatVector exponent = FloatVector.broadcast(S, y);
            check("pow " + y, x -> f.apply(x, exponent), x -> exact.applyAsDouble(x, y), 0, 4, 1, 10_000);
        }
        for (float x : new float[] {2, 0.7f, 10, 1.001f, -3}) {
            FloatVector base = FloatVector.broadcast(S, x);
            check(x + " to the", y -> f.apply(base, y), y -> exact.applyAsDouble(x, y), -40, 40, 1);
        }
    }
}
