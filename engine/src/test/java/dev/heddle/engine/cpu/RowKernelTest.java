// Steps that go row by row must give, as one loop, the bits that they give one after the other, whatever the length of a row.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Functional;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Gradients;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cpu.codegen.ColumnFold;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RowKernelTest {
    @AfterEach
    void restore() {
        Debug.fusion(true);
    }

    private static void assertSameBits(Supplier<List<Tensor>> program) {
        Debug.fusion(true);
        List<Tensor> fused = program.get();
        Tensor.eval(fused.toArray(new Tensor[0]));
        String plan = Debug.lastPlan().toString();
        assertTrue(plan.contains("in 1 calls"), plan);
        Debug.fusion(false);
        List<Tensor> single = program.get();
        for (int i = 0; i < fused.size(); i++) {
            assertArrayEquals(single.get(i).toFloatArray(), fused.get(i).toFloatArray(), "output " + i + " of\n" + plan);
        }
    }

    /** Lengths around those of a vector, the lanes of a sum, its blocks and its chunks. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3, 15, 16, 17, 31, 64, 511, 512, 513, 600, 1024, 2047, 2048, 2049, 4101, 65_536})
    void foldsOfEveryKindDependOnEachOther(int n) {
        Generator random = new Generator(n);
        Tensor x = random.randn(17, n).eval();
        Tensor weight = random.randn(n).eval();
        assertSameBits(() -> {
            Tensor e = x.sub(x.max(true, -1)).exp(); // (17, n)
            Tensor y = e.div(e.sum(true, -1));
            Tensor least = y.min(true, -1);
            Tensor scaled = y.sub(least).mul(weight);
            Tensor product = scaled.mul(0.01f).add(1).prod(-1).unsqueeze(-1);
            return List.of(y, least, product, scaled.mean(true, -1), y.mul(product));
        });
    }

    /** What a later run over the row needs is kept in the row of a result, unless that is too early or taken. */
    @Test
    void internalRowsAreNotOverwrittenTooEarly() {
        Generator random = new Generator(5);
        Tensor x = random.randn(64, 300).eval();
        Tensor z = random.randn(64, 300).eval();
        assertSameBits(() -> {
            Tensor a = x.exp(); // needed in three runs
            Tensor b = z.tanh(); // in two
            Tensor sum = a.add(b).sum(true, -1);
            Tensor y = a.mul(sum); // written in the second run
            Tensor last = y.sub(b).max(true, -1);
            return List.of(y, a.add(last), sum);
        });
    }

    @Test
    void numbersMayBeAllThatIsWanted() {
        Tensor x = new Generator(6).randn(100, 77).eval();
        assertSameBits(() -> {
            Tensor mean = x.mean(true, -1);
            return List.of(mean, x.sub(mean).square().mean(true, -1).add(1e-5f).rsqrt());
        });
    }

    /** The last run over a row also begins the next one; numbers and rows of 16 bits are results too. */
    @ParameterizedTest
    @ValueSource(ints = {16, 17, 100})
    void rowsOverlap(int rows) {
        Generator random = new Generator(rows);
        Tensor x = random.randn(rows, 1000).eval();
        Tensor weight = random.randn(1000).eval();
        assertSameBits(() -> {
            Tensor mean = x.mean(true, -1);
            Tensor centred = x.sub(mean);
            Tensor rstd = centred.square().mean(true, -1).add(1e-5f).rsqrt();
            Tensor y = centred.mul(rstd).mul(weight);
            return List.of(y, mean, rstd, y.to(DType.BF16).to(DType.F32));
        });
    }

    /** Where nobody needs the product any more, the results may lie in its memory. */
    @ParameterizedTest
    @ValueSource(ints = {1, 7, 200})
    void rowsOverlapWhereTheyWereRead(int rows) {
        Generator random = new Generator(rows);
        Tensor a = random.randn(rows, 33).eval();
        Tensor b = random.randn(33, 140).eval();
        Debug.fusion(true);
        float[] fused = Functional.softmax(a.matmul(b), -1).toFloatArray();
        Debug.fusion(false);
        Tensor product = a.matmul(b).eval();
        assertArrayEquals(Functional.softmax(product, -1).toFloatArray(), fused);
    }

    /** The first run over a row keeps its roots in scratch memory, which the last one, of the row before, still reads. */
    @ParameterizedTest
    @ValueSource(ints = {100, 2048})
    void scratchMemoryIsNotOverwrittenByTheNextRow(int n) {
        Tensor x = new Generator(n).randn(40, n).eval();
        assertSameBits(() -> {
            Tensor e = x.abs().sqrt();
            return List.of(e.div(e.sum(true, -1)).to(DType.BF16));
        });
    }

    /** The last run over a row stores nothing else. */
    @Test
    void columnsMayBeAllThatIsWanted() {
        Tensor x = new Generator(14).randn(manyRows(), 50).eval();
        assertSameBits(() -> {
            Tensor e = x.exp();
            return List.of(e.div(e.sum(true, -1)).sum(0));
        });
    }

    @Test
    void rowsMayLieApartAndRepeat() {
        Tensor wide = new Generator(7).randn(40, 100).eval();
        Tensor column = new Generator(8).randn(40, 1).eval();
        assertSameBits(() -> {
            Tensor x = wide.slice(1, 10, 83); // rows at a distance of 100
            Tensor e = x.mul(column).exp();
            return List.of(e.div(e.sum(true, -1)));
        });
    }

    /** Rows enough for a block of them to each thread, and a part of one more. */
    private static int manyRows() {
        return WorkerPool.shared().threads() * ColumnFold.BLOCK + 37;
    }

    /** As in the gradient of layer norm: what is computed row by row is also summed over the rows. */
    @ParameterizedTest
    @ValueSource(ints = {2, 16, 75, 256})
    void columnsAreFoldedAlong(int n) {
        Generator random = new Generator(10);
        Tensor x = random.randn(manyRows(), n).eval();
        Tensor dy = random.randn(manyRows(), n).eval();
        assertSameBits(() -> {
            Tensor normal = x.sub(x.mean(true, -1)); // (rows, n)
            return List.of(normal.mul(dy), dy.mul(normal).sum(0), dy.mean(0), normal.max(0), normal.mul(1e-3f).add(1).prod(0));
        });
    }

    /** More rows than are folded in one chunk. */
    @Test
    void chunksOfRowsAreFoldedInTurn() {
        Tensor x = new Generator(11).randn(3 * 2048 * WorkerPool.shared().threads() + 700, 5).eval();
        assertSameBits(() -> List.of(x.sum(0), x.mul(x).sum(0)));
    }

    /** As in batch norm: images with the channels last are summed over all axes but that of the channels, which lies in the middle. */
    @Test
    void imagesAreFoldedPlaneByPlane() {
        Tensor images = new Generator(12).randn(WorkerPool.shared().threads() * 16, 9, 71, 6).eval();
        Tensor x = images.permute(0, 3, 1, 2); // (N, C, H, W)
        assertSameBits(() -> List.of(x.sum(0, 2, 3), x.mul(x).mean(0, 2, 3), x.sub(1).min(0, 2, 3)));
    }

    @Test
    void oneFoldOverRowsMayNeedAnother() {
        Tensor x = new Generator(13).randn(manyRows(), 20).eval();
        Debug.fusion(true);
        Tensor mean = x.mean(0);
        float[] variance = x.sub(mean).square().mean(0).toFloatArray();
        float[] all = x.toFloatArray();
        for (int column = 0; column < 20; column++) {
            double sum = 0;
            double squares = 0;
            for (int row = 0; row < manyRows(); row++) {
                sum += all[row * 20 + column];
                squares += all[row * 20 + column] * (double) all[row * 20 + column];
            }
            assertEquals(squares / manyRows() - Math.pow(sum / manyRows(), 2), variance[column], 1e-5);
        }
    }

    /** Labels are integers, which such loops do not know; what has to do with them is small, and comes first. */
    @Test
    void smallStepsInBetweenComeFirst() {
        Tensor logits = new Generator(14).randn(64, 50).eval();
        Tensor labels = new Generator(15).randint(0, 50, 64).eval();
        Tensor loss = Functional.crossEntropy(logits, labels, -100, 0.1); // (64)
        Tensor gradient = Gradients.of(loss.sum(), logits).getFirst();
        Tensor.eval(loss, gradient);
        List<String> plan = Debug.lastPlan().toString().lines().toList();
        int from = IntStream.range(0, plan.size()).filter(line -> plan.get(line).contains(" max ")).findFirst().orElseThrow();
        int to = IntStream.range(0, plan.size()).filter(line -> plan.get(line).contains("f32(64, 50) <-")).max().orElseThrow();
        assertTrue(to > from && plan.subList(from + 1, to + 1).stream().allMatch(line -> line.startsWith("   +")), String.join("\n", plan));
    }

    @Test
    void masksAndSixteenBitsGoAlong() {
        Tensor x = new Generator(9).randn(48, 130).to(DType.BF16).eval();
        Debug.fusion(true);
        Tensor positive = x.to(DType.F32).gt(0); // (48, 130)
        Tensor kept = positive.where(x.to(DType.F32), Tensor.scalar(0));
        Tensor mean = kept.mean(true, -1);
        Tensor y = kept.sub(mean).to(DType.BF16);
        Tensor.eval(y, mean);
        assertTrue(Debug.lastPlan().toString().contains("in 1 calls"), Debug.lastPlan().toString());
        float[] in = x.to(DType.F32).toFloatArray();
        float[] out = y.to(DType.F32).toFloatArray();
        for (int row = 0; row < 48; row++) {
            double sum = 0;
            for (int i = 0; i < 130; i++) {
                sum += Math.max(0, in[row * 130 + i]);
            }
            for (int i = 0; i < 130; i++) {
                double expected = Math.max(0, in[row * 130 + i]) - sum / 130;
                assertEquals(expected, out[row * 130 + i], Math.abs(expected) / 256 + 1e-6, "row " + row + " element " + i);
            }
        }
    }
}
