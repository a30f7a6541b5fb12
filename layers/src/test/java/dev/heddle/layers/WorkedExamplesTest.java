// Small cases that a person can follow with a pencil.
package dev.heddle.layers;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.engine.Functional;
import dev.heddle.engine.Tensor;
import dev.heddle.testing.NoLeaks;
import org.junit.jupiter.api.Test;

@NoLeaks
class WorkedExamplesTest {
    private static Tensor image(float[][] rows) {
        return Tensor.of(rows).reshape(1, 1, rows.length, rows[0].length);
    }

    @Test
    void aFilterAnswersMostToItsOwnPattern() {
        float[][] cross = {{1, 0, 1}, {0, 1, 0}, {1, 0, 1}};
        assertEquals(5, Functional.conv2d(image(cross), image(cross), null, 1, 0, 1, 1).item());
    }

    @Test
    void maxPoolingKeepsTheLargestOfEachWindow() {
        Tensor x = image(new float[][] {{4, 2, 6, 8}, {3, 5, 1, 2}, {9, 3, 2, 1}, {0, 1, 3, 1}});
        assertArrayEquals(new float[] {5, 8, 9, 3}, new MaxPool2d(2).forward(x).toFloatArray());
    }

    @Test
    void attentionByHand() {
        // d = 4, so scores are halved: q k^T / 2 = (1, 0); softmax = (e, 1) / (e + 1)
        Tensor q = Tensor.of(new float[] {1, 1, 0, 0}, 1, 4);
        Tensor k = Tensor.of(new float[] {1, 1, 0, 0, 0, 0, 1, 1}, 2, 4);
        Tensor v = Tensor.of(new float[] {10, 0, 0, 20}, 2, 2);
        float[] y = Functional.softmax(q.matmul(k.t()).div(Math.sqrt(4)), -1).matmul(v).toFloatArray();
        double p = Math.E / (Math.E + 1);
        assertArrayEquals(new float[] {(float) (10 * p), (float) (20 * (1 - p))}, y, 1e-5f);
    }

    @Test
    void anEdgeFilterFindsTheEdge() {
        Tensor x = image(new float[][] {{0, 0, 0, 1, 1}, {0, 0, 0, 1, 1}, {0, 0, 0, 1, 1}});
        Tensor sobel = image(new float[][] {{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}});
        assertArrayEquals(new float[] {0, 4, 4}, Functional.conv2d(x, sobel, null, 1, 0, 1, 1).toFloatArray());
    }

    @Test
    void aBoxFilterBlurs() {
        Tensor x = image(new float[][] {{0, 0, 0}, {0, 9, 0}, {0, 0, 0}});
        Tensor box = Tensor.full(1 / 9.0, Tensor.zeros(1, 1, 3, 3).shape());
        float[] expected = {1, 1, 1, 1, 1, 1, 1, 1, 1};
        assertArrayEquals(expected, Functional.conv2d(x, box, null, 1, 1, 1, 1).toFloatArray(), 1e-6f);
    }
}
