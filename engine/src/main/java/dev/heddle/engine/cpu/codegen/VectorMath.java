// Elementary functions on vectors of f32. The Vector API's own (lanewise(EXP) and so on) give other last bits when
// interpreted than when compiled; these are made of exactly rounded operations only and give the same bits always.
package dev.heddle.engine.cpu.codegen;

import static jdk.incubator.vector.VectorOperators.ASHR;
import static jdk.incubator.vector.VectorOperators.EQ;
import static jdk.incubator.vector.VectorOperators.GE;
import static jdk.incubator.vector.VectorOperators.GT;
import static jdk.incubator.vector.VectorOperators.I2F;
import static jdk.incubator.vector.VectorOperators.LSHL;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.NE;
import static jdk.incubator.vector.VectorOperators.XOR;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * {@code f(x)} for every lane of vectors of {@link FloatVector#SPECIES_PREFERRED} (at most 512 bits), with the results of
 * IEEE arithmetic for infinities, NaN, zeros and denormals, and the same bits on every machine. Every function is within
 * 2.5 ulp of the exact value. Polynomials are minimax fits made for this file. Methods are free of loops: {@link Inliner}
 * copies their code into generated loops, because the compiler's own inlining gives up at a few dozen vector operations
 * and then allocates every vector that is passed.
 */
public final class VectorMath {
    static final VectorSpecies<Float> S = Lanes.S;
    static final FloatVector ZERO = all(0f);
    static final FloatVector ONE = all(1f);
    static final FloatVector TWO = all(2f);
    static final FloatVector HALF = all(0.5f);
    static final FloatVector MINUS_HALF = all(-0.5f);
    static final FloatVector INFINITY = all(Float.POSITIVE_INFINITY);
    static final FloatVector NAN = all(Float.NaN);
    static final int ONE_BITS = 0x3f800000;
    static final int SIGN_BIT = 0x80000000;

    private VectorMath() {}

    private static FloatVector all(float value) {
        return FloatVector.broadcast(S, value);
    }

    // ---- signs and rounding

    /** The magnitude of {@code x} with the sign of {@code sign}. */
    static FloatVector copySign(FloatVector x, FloatVector sign) {
        IntVector magnitude = x.reinterpretAsInts().and(~SIGN_BIT);
        return sign.reinterpretAsInts().and(SIGN_BIT).or(magnitude).reinterpretAsFloats();
    }

    /** 1, -1, or {@code x} itself where it is a zero or NaN. */
    public static FloatVector sign(FloatVector x) {
        return x.blend(ONE, x.compare(GT, ZERO)).blend(-1f, x.compare(LT, ZERO));
    }

    static final FloatVector INTEGERS = all(8388608f); // 2^23: from here on all floats are integers

    /** To the nearest integer, ties to even; keeps the sign of zero. */
    public static FloatVector round(FloatVector x) {
        FloatVector magnitude = x.abs();
        FloatVector rounded = magnitude.add(INTEGERS).sub(INTEGERS);
        return x.blend(copySign(rounded, x), magnitude.compare(LT, INTEGERS));
    }

    /** To the next integer below. */
    public static FloatVector floor(FloatVector x) {
        FloatVector rounded = round(x);
        return rounded.blend(rounded.sub(ONE), rounded.compare(GT, x));
    }

    /** To the next integer above; between -1 and 0 it is -0. */
    public static FloatVector ceil(FloatVector x) {
        FloatVector rounded = round(x);
        return copySign(rounded.blend(rounded.add(ONE), rounded.compare(LT, x)), x);
    }

    /** {@code 1 / sqrt(x)}, both rounded. */
    public static FloatVector rsqrt(FloatVector x) {
        return ONE.div(x.sqrt());
    }

    // ---- exponentials: x = n ln2 + r, e^x = 2^n e^r, |r| <= ln2 / 2

    // Adding 1.5 * 2^23 rounds to the nearest integer, which then also sits in the low bits of the sum.
    static final FloatVector ROUNDER = all(12582912f);
    static final FloatVector LOG2_E = all(1.44269504f);
    static final FloatVector LN2_HIGH = all(0.693359375f); // 10 bits: n * LN2_HIGH is exact
    static final FloatVector MINUS_LN2_HIGH = all(-0.693359375f);
    static final FloatVector MINUS_LN2_LOW = all(2.12194440e-4f);
    static final FloatVector LN2_LOW = all(-2.12194440e-4f);
    static final FloatVector EXP_MAX = all(88.722835f);
    static final FloatVector EXP_MIN = all(-103.972084f);

    // (e^r - 1 - r) / r^2, error of e^r relative to e^r - 1: 1.4e-8
    static final FloatVector E2 = HALF;
    static final FloatVector E3 = all(0.16666541993618011f);
    static final FloatVector E4 = all(0.041666410863399506f);
    static final FloatVector E5 = all(0.008366775698959827f);
    static final FloatVector E6 = all(0.0013940015342086554f);

    /** {@code x - n ln2}. */
    static FloatVector reduced(FloatVector x, FloatVector n) {
        return n.fma(MINUS_LN2_LOW, n.fma(MINUS_LN2_HIGH, x));
    }

    /** {@code (e^r - 1 - r) / r^2}. */
    static FloatVector exponentialTail(FloatVector r) {
        return E6.fma(r, E5).fma(r, E4).fma(r, E3).fma(r, E2);
    }

    /** {@code p * 2^n}, {@code n} in [-152, 129] given as {@code n + ROUNDER}; in two factors, for results that are denormal. */
    static FloatVector scale(FloatVector p, FloatVector shifted) {
        IntVector n = shifted.reinterpretAsInts();
        IntVector half = n.lanewise(ASHR, 1);
        FloatVector first = half.lanewise(LSHL, 23).add(ONE_BITS).reinterpretAsFloats();
        FloatVector second = n.sub(half).lanewise(LSHL, 23).add(ONE_BITS).reinterpretAsFloats();
        return p.mul(first).mul(second);
    }

    /** {@code 2^(n + offset)}, {@code n} given as {@code n + ROUNDER}; the result must be normal. */
    static FloatVector power(FloatVector shifted, int offset) {
        return shifted.reinterpretAsInts().lanewise(LSHL, 23).add(ONE_BITS + (offset << 23)).reinterpretAsFloats();
    }

    /** {@code e^x}. */
    public static FloatVector exp(FloatVector x) {
        FloatVector shifted = x.fma(LOG2_E, ROUNDER);
        FloatVector r = reduced(x, shifted.sub(ROUNDER));
        FloatVector p = exponentialTail(r).fma(r, ONE).fma(r, ONE);
        return scale(p, shifted).blend(INFINITY, x.compare(GT, EXP_MAX)).blend(ZERO, x.compare(LT, EXP_MIN));
    }

    static final FloatVector EXPM1_MIN = all(-18f); // e^-18 is below half an ulp of 1
    static final FloatVector EXPM1_TINY = all(1e-8f); // below, e^x - 1 rounds to x

    /** {@code e^x - 1}, accurate near 0. */
    public static FloatVector expm1(FloatVector x) {
        FloatVector shifted = x.fma(LOG2_E, ROUNDER);
        FloatVector r = reduced(x, shifted.sub(ROUNDER));
        FloatVector p = exponentialTail(r).fma(r.mul(r), r);
        FloatVector halfPower = power(shifted, -1); // 2^128 itself would overflow
        FloatVector half = p.fma(halfPower, halfPower.sub(HALF));
        FloatVector result = half.add(half).blend(x, x.abs().compare(LT, EXPM1_TINY));
        return result.blend(INFINITY, x.compare(GT, EXP_MAX)).blend(-1f, x.compare(LT, EXPM1_MIN));
    }

    static final FloatVector TANH_MAX = all(9.1f); // from here on tanh rounds to 1

    /** {@code tanh(x)}, as {@code t / (t + 2)} with {@code t = e^2|x| - 1}. */
    public static FloatVector tanh(FloatVector x) {
        FloatVector magnitude = x.abs();
        FloatVector twice = magnitude.add(magnitude);
        FloatVector shifted = twice.fma(LOG2_E, ROUNDER);
        FloatVector r = reduced(twice, shifted.sub(ROUNDER));
        FloatVector p = exponentialTail(r).fma(r.mul(r), r);
        FloatVector power = power(shifted, 0);
        FloatVector t = p.fma(power, power.sub(ONE));
        return copySign(t.div(t.add(TWO)).blend(ONE, magnitude.compare(GT, TANH_MAX)), x);
    }

    // ---- logarithms: x = 2^e m, m in [sqrt(1/2), sqrt(2)), f = m - 1

    static final FloatVector MIN_NORMAL = all(Float.MIN_NORMAL);
    static final int SQRT_HALF_BITS = 0x3f3504f3;
    static final int MANTISSA = 0x007fffff;

    // (log(1 + f) - f + f^2 / 2) / f^3, error of the logarithm 5.8e-9 relative
    static final FloatVector G3 = all(0.3333333134651184f);
    static final FloatVector G4 = all(-0.2500081956386566f);
    static final FloatVector G5 = all(0.20001240074634552f);
    static final FloatVector G6 = all(-0.1662340760231018f);
    static final FloatVector G7 = all(0.14201627671718597f);
    static final FloatVector G8 = all(-0.13159683346748352f);
    static final FloatVector G9 = all(0.12761861085891724f);
    static final FloatVector G10 = all(-0.07635750621557236f);

    /** The bits of a positive float, denormals scaled by 2^23, less those of sqrt(1/2): exponent above, mantissa below. */
    static IntVector split(FloatVector x) {
        FloatVector normal = x.blend(x.mul(INTEGERS), x.compare(LT, MIN_NORMAL));
        return normal.reinterpretAsInts().sub(SQRT_HALF_BITS);
    }

    static FloatVector exponent(IntVector split, FloatVector x) {
        FloatVector e = (FloatVector) split.lanewise(ASHR, 23).convert(I2F, 0);
        return e.blend(e.sub(23f), x.compare(LT, MIN_NORMAL));
    }

    static FloatVector mantissa(IntVector split) {
        return split.and(MANTISSA).add(SQRT_HALF_BITS).reinterpretAsFloats();
    }

    /** {@code (log(1 + f) - f + f^2 / 2) / f^3}. */
    static FloatVector logarithmTail(FloatVector f) {
        return G10.fma(f, G9).fma(f, G8).fma(f, G7).fma(f, G6).fma(f, G5).fma(f, G4).fma(f, G3);
    }

    /** {@code log(x) + correction} for finite positive {@code x}. */
    static FloatVector logOfFinite(FloatVector x, FloatVector correction) {
        IntVector split = split(x);
        FloatVector e = exponent(split, x);
        FloatVector f = mantissa(split).sub(ONE);
        FloatVector square = f.mul(f);
        FloatVector tail = e.fma(LN2_LOW, logarithmTail(f).mul(square).fma(f, correction));
        return e.fma(LN2_HIGH, f.add(square.fma(MINUS_HALF, tail)));
    }

    /** {@code log(x)}; NaN for negative {@code x}, minus infinity for zeros. */
    public static FloatVector log(FloatVector x) {
        FloatVector finite = x.blend(logOfFinite(x, ZERO), x.compare(LT, INFINITY));
        return finite.blend(NAN, x.compare(LT, ZERO)).blend(Float.NEGATIVE_INFINITY, x.compare(EQ, ZERO));
    }

    /** {@code log(1 + x)}, accurate near 0. */
    public static FloatVector log1p(FloatVector x) {
        FloatVector u = x.add(ONE);
        FloatVector rounded = u.sub(ONE);
        FloatVector error = ONE.sub(u.sub(rounded)).add(x.sub(rounded)); // u + error = 1 + x exactly
        FloatVector finite = x.blend(logOfFinite(u, error.div(u)), u.compare(LT, INFINITY).and(x.compare(NE, ZERO)));
        return finite.blend(NAN, u.compare(LT, ZERO)).blend(Float.NEGATIVE_INFINITY, u.compare(EQ, ZERO));
    }

    // ---- erf

    // erf(a) / a - 1 in a^2, a < 1: error 1.4e-9
    static final FloatVector F0 = all(0.12837916612625122f);
    static final FloatVector F1 = all(-0.3761262595653534f);
    static final FloatVector F2 = all(0.11283578723669052f);
    static final FloatVector F3 = all(-0.026853347197175026f);
    static final FloatVector F4 = all(0.005187162198126316f);
    static final FloatVector F5 = all(-0.0007997853099368513f);
    static final FloatVector F6 = all(7.806903886375949e-05f);
    // (1 - erf(a))^(1/8), 1 <= a < 3.95: error of erf 1.6e-8
    static final FloatVector H0 = all(1.0008347034454346f);
    static final FloatVector H1 = all(-0.14506052434444427f);
    static final FloatVector H2 = all(-0.06142646074295044f);
    static final FloatVector H3 = all(-0.011373501271009445f);
    static final FloatVector H4 = all(0.01292584277689457f);
    static final FloatVector H5 = all(-0.0024697110056877136f);
    static final FloatVector H6 = all(0.0001498466735938564f);
    static final FloatVector ERF_MAX = all(3.93f); // from here on erf rounds to 1

    /** The error function. */
    public static FloatVector erf(FloatVector x) {
        FloatVector a = x.abs();
        FloatVector square = a.mul(a);
        FloatVector ratio = F6.fma(square, F5).fma(square, F4).fma(square, F3).fma(square, F2).fma(square, F1).fma(square, F0);
        FloatVector root = H6.fma(a, H5).fma(a, H4).fma(a, H3).fma(a, H2).fma(a, H1).fma(a, H0);
        FloatVector second = root.mul(root);
        FloatVector fourth = second.mul(second);
        FloatVector large = fourth.neg().fma(fourth, ONE);
        FloatVector magnitude = ratio.fma(a, a).blend(large, a.compare(GE, ONE)).blend(ONE, a.compare(GT, ERF_MAX));
        return copySign(magnitude, x);
    }

    // ---- sine and cosine: x = n pi/2 + r, |r| <= pi/4

    static final FloatVector TWO_OVER_PI = all(0.63661975f);
    static final FloatVector MINUS_PI_HALF_1 = all(-1.5707964f); // three parts, together 72 bits
    static final FloatVector MINUS_PI_HALF_2 = all(4.371139e-8f);
    static final FloatVector MINUS_PI_HALF_3 = all(1.7151245e-15f);
    static final FloatVector REDUCIBLE = all(6.5e6f); // n fits the rounder
    static final FloatVector S3 = all(-0.16666653752326965f); // sin: error 4.2e-9
    static final FloatVector S5 = all(0.008332106284797192f);
    static final FloatVector S7 = all(-0.00019507882825564593f);
    static final FloatVector C4 = all(0.04166664555668831f); // cos: error 1.3e-10
    static final FloatVector C6 = all(-0.0013887303648516536f);
    static final FloatVector C8 = all(2.443120138195809e-05f);

    /** {@code sin(x)}. */
    public static FloatVector sin(FloatVector x) {
        return sine(x, 0).blend(x, x.compare(EQ, ZERO)); // keeps the sign of zero
    }

    /** {@code cos(x)}. */
    public static FloatVector cos(FloatVector x) {
        return sine(x, 1);
    }

    /** {@code sin(x + quarters * pi/2)}. */
    static FloatVector sine(FloatVector x, int quarters) {
        FloatVector shifted = x.fma(TWO_OVER_PI, ROUNDER);
        FloatVector once = subtractQuarters(x, shifted.sub(ROUNDER));
        FloatVector rest = once.fma(TWO_OVER_PI, ROUNDER); // for large x the first n may be off by one or two
        FloatVector r = subtractQuarters(once, rest.sub(ROUNDER));
        IntVector quadrant = shifted.reinterpretAsInts().add(rest.reinterpretAsInts()).add(quarters);
        FloatVector square = r.mul(r);
        FloatVector sin = S7.fma(square, S5).fma(square, S3).mul(square).fma(r, r);
        FloatVector cos = C8.fma(square, C6).fma(square, C4).fma(square.mul(square), square.fma(MINUS_HALF, ONE));
        FloatVector magnitude = sin.blend(cos, quadrant.and(1).compare(EQ, 1).cast(S));
        IntVector flip = quadrant.and(2).lanewise(LSHL, 30);
        FloatVector result = magnitude.reinterpretAsInts().lanewise(XOR, flip).reinterpretAsFloats();
        FloatVector size = x.abs();
        VectorMask<Float> large = size.compare(GT, REDUCIBLE).and(size.compare(LT, INFINITY));
        return large.anyTrue() ? ScalarMath.sineWhere(large, x, quarters, result) : result;
    }

    /** {@code x - n pi/2}. */
    static FloatVector subtractQuarters(FloatVector x, FloatVector n) {
        return n.fma(MINUS_PI_HALF_3, n.fma(MINUS_PI_HALF_2, n.fma(MINUS_PI_HALF_1, x)));
    }

    // ---- powers: x^y = 2^(y log2 x), the logarithm in two floats

    static final FloatVector LOG2_E_LOW = all(1.925963e-8f);
    static final FloatVector POW_MAX = all(129f);
    static final FloatVector POW_MIN = all(-151f);
    // (log(m) - 2s) / s^3 in s^2, s = (m - 1) / (m + 1): error 2.5e-11 of the logarithm
    static final FloatVector Q3 = all(0.6666666269302368f);
    static final FloatVector Q5 = all(0.4000096917152405f);
    static final FloatVector Q7 = all(0.2849917709827423f);
    static final FloatVector Q9 = all(0.2426803857088089f);
    // (2^r - 1) / r: error of 2^r 1.6e-10
    static final FloatVector B1 = all(0.6931471824645996f);
    static final FloatVector B2 = all(0.24022650718688965f);
    static final FloatVector B3 = all(0.055504050105810165f);
    static final FloatVector B4 = all(0.009618086740374565f);
    static final FloatVector B5 = all(0.001333796652033925f);
    static final FloatVector B6 = all(0.000154521971126087f);
    static final FloatVector B7 = all(1.4320905393105932e-05f);

    /**
     * {@code x^y} with the special cases of {@link Math#pow}: 1 for {@code y = 0}; NaN for negative finite {@code x} and
     * fractional {@code y}.
     */
    public static FloatVector pow(FloatVector x, FloatVector y) {
        FloatVector magnitude = x.abs();
        FloatVector power = powOfMagnitude(magnitude, y).blend(ONE, y.compare(EQ, ZERO));
        VectorMask<Float> negative = x.reinterpretAsInts().compare(LT, 0).cast(S);
        FloatVector halfOfY = y.mul(HALF);
        VectorMask<Float> odd = round(y).compare(EQ, y).and(round(halfOfY).compare(NE, halfOfY));
        VectorMask<Float> undefined = round(y).compare(NE, y).and(x.compare(LT, ZERO)).and(magnitude.compare(LT, INFINITY));
        return power.blend(power.neg(), negative.and(odd)).blend(NAN, undefined);
    }

    static FloatVector powOfMagnitude(FloatVector x, FloatVector y) {
        IntVector split = split(x);
        FloatVector e = exponent(split, x);
        FloatVector m = mantissa(split);
        FloatVector f = m.sub(ONE);
        FloatVector d = m.add(ONE);
        FloatVector s = f.div(d);
        FloatVector square = s.mul(s);
        FloatVector cubic = cubicFactor(square);
        FloatVector product = square.mul(cubic); // log(m) = 2s + s product
        FloatVector productLow = productLow(s, square, cubic, product);
        FloatVector high = s.add(s);
        FloatVector third = s.mul(product);
        FloatVector low = s.fma(product, third.neg()).add(s.fma(productLow, quotientError(s, f, d, m)));
        FloatVector sum = high.add(third);
        low = third.sub(sum.sub(high)).add(low); // sum + low = log(m)
        FloatVector scaled = sum.mul(LOG2_E);
        low = sum.fma(LOG2_E, scaled.neg()).add(sum.fma(LOG2_E_LOW, low.mul(LOG2_E)));
        FloatVector log2 = e.add(scaled);
        low = low.add(e.sub(log2).add(scaled)); // log2 + low = log2(x)
        log2 = x.blend(log2, x.compare(LT, INFINITY)).blend(Float.NEGATIVE_INFINITY, x.compare(EQ, ZERO));
        FloatVector z = y.mul(log2);
        return exp2(z, y.fma(log2, z.neg()).add(y.mul(low)));
    }

    /** What log(m) lacks because {@code s} is {@code f / (m + 1)} rounded; {@code d} is {@code m + 1} rounded. */
    static FloatVector quotientError(FloatVector s, FloatVector f, FloatVector d, FloatVector m) {
        FloatVector remainder = s.neg().fma(d, f).sub(s.mul(m.sub(d.sub(ONE))));
        FloatVector error = remainder.add(remainder).div(d);
        return error.fma(s.mul(s), error); // the derivative of log(m) by s is 2 / (1 - s^2)
    }

    static FloatVector cubicTail(FloatVector square) {
        return Q9.fma(square, Q7).fma(square, Q5).mul(square);
    }

    static FloatVector cubicFactor(FloatVector square) {
        return Q3.add(cubicTail(square));
    }

    /** What rounding took from {@code product = s^2 * cubic}: of the square, of the factor, and of the product itself. */
    static FloatVector productLow(FloatVector s, FloatVector square, FloatVector cubic, FloatVector product) {
        FloatVector squareLow = s.fma(s, square.neg());
        FloatVector cubicLow = cubicTail(square).sub(cubic.sub(Q3));
        return square.fma(cubic, product.neg()).add(square.fma(cubicLow, squareLow.mul(cubic)));
    }

    /** {@code 2^(z + low)}. */
    static FloatVector exp2(FloatVector z, FloatVector low) {
        FloatVector shifted = z.add(ROUNDER);
        FloatVector r = z.sub(shifted.sub(ROUNDER)).add(low);
        FloatVector tail = B7.fma(r, B6).fma(r, B5).fma(r, B4).fma(r, B3).fma(r, B2).fma(r, B1);
        return scale(tail.fma(r, ONE), shifted).blend(INFINITY, z.compare(GT, POW_MAX)).blend(ZERO, z.compare(LT, POW_MIN));
    }
}
