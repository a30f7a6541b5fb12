// An oracle for whole transformers: plain loops in double precision over weights by the names of Hugging Face.
package dev.heddle.training.weights;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;

/** Random weights, and what a model makes of them; rows are positions. */
final class PlainTransformer {
    final Map<String, Tensor> weights = new LinkedHashMap<>();
    private final Map<String, double[]> values = new LinkedHashMap<>();
    private final Generator random = new Generator(7);

    /** A random weight under a name. */
    void add(String name, long... shape) {
        Tensor tensor = random.randn(shape).mul(0.4).add(0.1).eval();
        weights.put(name, tensor);
        values.put(name, tensor.toDoubleArray());
    }

    double[] get(String name) {
        return values.get(name);
    }

    /** Rows of tables, added up. */
    double[][] embed(String table, int... rows) {
        double[] all = get(table);
        int dim = (int) weights.get(table).dim(1);
        double[][] x = new double[rows.length][dim];
        for (int t = 0; t < rows.length; t++) {
            System.arraycopy(all, rows[t] * dim, x[t], 0, dim);
        }
        return x;
    }

    static double[][] add(double[][] a, double[][] b) {
        double[][] sum = new double[a.length][a[0].length];
        for (int t = 0; t < a.length; t++) {
            for (int c = 0; c < a[0].length; c++) {
                sum[t][c] = a[t][c] + b[t][c];
            }
        }
        return sum;
    }

    static double[][] map(double[][] x, DoubleUnaryOperator f) {
        double[][] y = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            y[t] = java.util.Arrays.stream(x[t]).map(f).toArray();
        }
        return y;
    }

    /** {@code x W^T + b} with {@code W (out, in)}, or {@code x W + b} with {@code W (in, out)}; there may be no bias. */
    double[][] linear(double[][] x, String name, boolean inFirst) {
        double[] w = get(name + ".weight");
        double[] b = values.getOrDefault(name + ".bias", new double[w.length / x[0].length]);
        double[][] y = new double[x.length][b.length];
        for (int t = 0; t < x.length; t++) {
            for (int o = 0; o < b.length; o++) {
                y[t][o] = b[o];
                for (int i = 0; i < x[t].length; i++) {
                    y[t][o] += x[t][i] * w[inFirst ? i * b.length + o : o * x[t].length + i];
                }
            }
        }
        return y;
    }

    double[][] layerNorm(double[][] x, String weight, String bias, double eps) {
        double[] w = get(weight);
        double[] b = get(bias);
        double[][] y = new double[x.length][w.length];
        for (int t = 0; t < x.length; t++) {
            double mean = java.util.Arrays.stream(x[t]).average().orElseThrow();
            double variance = java.util.Arrays.stream(x[t]).map(v -> (v - mean) * (v - mean)).average().orElseThrow();
            for (int c = 0; c < w.length; c++) {
                y[t][c] = (x[t][c] - mean) / Math.sqrt(variance + eps) * w[c] + b[c];
            }
        }
        return y;
    }

    /** {@code softmax(q k^T / sqrt(d)) v} in each head of {@code d} columns. */
    static double[][] attention(double[][] q, double[][] k, double[][] v, int heads, boolean causal) {
        int d = q[0].length / heads;
        double[][] y = new double[q.length][q[0].length];
        for (int h = 0; h < heads; h++) {
            for (int t = 0; t < q.length; t++) {
                int seen = causal ? t + 1 : k.length;
                double[] p = new double[seen];
                double sum = 0;
                for (int s = 0; s < seen; s++) {
                    for (int c = h * d; c < (h + 1) * d; c++) {
                        p[s] += q[t][c] * k[s][c];
                    }
                    p[s] = Math.exp(p[s] / Math.sqrt(d));
                    sum += p[s];
                }
                for (int s = 0; s < seen; s++) {
                    for (int c = h * d; c < (h + 1) * d; c++) {
                        y[t][c] += p[s] / sum * v[s][c];
                    }
                }
            }
        }
        return y;
    }

    /** Columns of each row. */
    static double[][] columns(double[][] x, int from, int to) {
        double[][] y = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            y[t] = java.util.Arrays.copyOfRange(x[t], from, to);
        }
        return y;
    }

    static double[] flat(double[][] x) {
        return java.util.Arrays.stream(x).flatMapToDouble(java.util.Arrays::stream).toArray();
    }

    /** GELU by tanh. */
    static double geluTanh(double x) {
        return x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    }

    /** GELU with the normal distribution function, by its power series: exact to 1e-10 for the small numbers here. */
    static double gelu(double x) {
        double term = x;
        double sum = x;
        for (int n = 1; n < 200; n++) {
            term *= -x * x / (2 * n);
            sum += term / (2 * n + 1);
        }
        return x * (0.5 + sum / Math.sqrt(2 * Math.PI));
    }
}
