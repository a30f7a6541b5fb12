// Random programs of sums, maxima and elementwise operations over rows give the same bits fused and operation by operation.
package dev.heddle.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.DType;
import dev.heddle.engine.Debug;
import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.cpu.codegen.ColumnFold;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Intermediate rows, numbers and results of several dtypes in every order that a seed comes to; a quarter of the programs have very many rows. */
class RandomRowProgramTest {
    private static final int PROGRAMS = 250;
    private static final int[] LENGTHS = {2, 15, 16, 33, 100, 512, 600, 2048, 2050};

    @AfterEach
    void restore() {
        Debug.fusion(true);
    }

    @Test
    void fusedRowsHaveTheBitsOfSingleSteps() {
        int whole = 0; // programs that became one call
        for (int seed = 0; seed < PROGRAMS; seed++) {
            Debug.fusion(true);
            List<Tensor> fused = program(seed);
            Tensor.eval(fused.toArray(new Tensor[0]));
            String plan = Debug.lastPlan().toString();
            whole += plan.contains("in 1 calls") ? 1 : 0;
            Debug.fusion(false);
            List<Tensor> single = program(seed);
            for (int i = 0; i < fused.size(); i++) {
                assertEquals(single.get(i).dtype(), fused.get(i).dtype());
                String what = "program " + seed + ", output " + i + " of\n" + plan;
                assertArrayEquals(single.get(i).to(DType.F32).toFloatArray(), fused.get(i).to(DType.F32).toFloatArray(), what);
            }
        }
        assertTrue(whole > PROGRAMS / 3, "only " + whole + " programs became one call");
    }

    private static List<Tensor> program(int seed) {
        Random random = new Random(seed);
        Generator values = new Generator(seed);
        int n = LENGTHS[random.nextInt(LENGTHS.length)];
        int rows = 16 + random.nextInt(random.nextInt(4) == 0 ? 2 * WorkerPool.shared().threads() * ColumnFold.BLOCK : 60);
        List<Tensor> inputs = List.of(values.randn(rows, n), rounded(values.randn(rows, n), random), values.randn(n), values.randn(rows, 1),
                values.randn(rows, n + 5));
        Tensor.eval(inputs.toArray(new Tensor[0]));
        List<Tensor> all = new ArrayList<>(inputs.subList(0, 4)); // (rows, n), (n) or (rows, 1)
        all.add(inputs.get(4).slice(1, 2, n + 2));
        for (int i = 4 + random.nextInt(6); i > 0; i--) {
            Tensor x = any(all, random).add(all.getFirst()); // (rows, n)
            Tensor y = any(all, random);
            all.add(switch (random.nextInt(9)) {
                case 0 -> x.sum(true, -1);
                case 1 -> x.max(true, -1);
                case 2 -> x.mul(y).mean(true, -1);
                case 3 -> x.sub(y);
                case 4 -> x.div(y.square().add(1));
                case 5 -> x.gt(y).where(x, y.add(all.getFirst()));
                case 6 -> x.abs().sqrt();
                case 7 -> rounded(x, random).to(DType.F32);
                default -> random.nextBoolean() ? x.tanh() : x.abs();
            });
        }
        List<Tensor> outputs = new ArrayList<>();
        int wanted = 1 + random.nextInt(7); // bits
        if ((wanted & 1) != 0) {
            outputs.add(rounded(all.getLast().mul(all.getFirst()), random));
        }
        if ((wanted & 2) != 0) {
            outputs.add(any(all.subList(4, all.size()), random).mul(1.5f));
        }
        if ((wanted & 4) != 0) {
            outputs.add(all.getLast().mul(all.getFirst()).sum(0));
        }
        return outputs;
    }

    private static Tensor any(List<Tensor> tensors, Random random) {
        return tensors.get(Math.max(random.nextInt(tensors.size()), random.nextInt(tensors.size()))).to(DType.F32);
    }

    private static Tensor rounded(Tensor x, Random random) {
        int kind = random.nextInt(4);
        return kind == 0 ? x.to(DType.BF16) : kind == 1 ? x.to(DType.F16) : x;
    }
}
