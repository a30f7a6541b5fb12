// Says whether two processes computed the same numbers, without sending them.
package dev.heddle.bench.kernel;

/** How many numbers, their sum, and the root of their mean square. */
record Digest(long count, double sum, double rms) {
    static Digest of(double[] values) {
        double sum = 0;
        double squares = 0;
        for (double value : values) {
            sum += value;
            squares += value * value;
        }
        return new Digest(values.length, sum, Math.sqrt(squares / values.length));
    }

    /** Of what {@link #toString} gives. */
    static Digest parse(String text) {
        String[] words = text.split(",");
        return new Digest(Long.parseLong(words[0]), Double.parseDouble(words[1]), Double.parseDouble(words[2]));
    }

    /** Whether the numbers may be the same but for a relative error; of random errors the sum has the root of the count. */
    boolean agrees(Digest other, double tolerance) {
        return count == other.count && Math.abs(rms - other.rms) <= tolerance * rms && Math.abs(sum - other.sum) <= 10 * tolerance * rms * Math.sqrt(count);
    }

    @Override
    public String toString() {
        return count + "," + sum + "," + rms;
    }
}
