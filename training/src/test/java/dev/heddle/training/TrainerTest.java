// The training loop: that models learn, that runs repeat and resume bit for bit, and what is said when they fail.
package dev.heddle.training;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Debug;
import dev.heddle.engine.Shape;
import dev.heddle.engine.ShapeException;
import dev.heddle.engine.Tensor;
import dev.heddle.engine.Variable;
import dev.heddle.engine.memory.NativeMemory;
import dev.heddle.layers.BatchNorm1d;
import dev.heddle.layers.Dropout;
import dev.heddle.layers.Init;
import dev.heddle.layers.Layer;
import dev.heddle.layers.Linear;
import dev.heddle.layers.ReLU;
import dev.heddle.layers.Sequential;
import dev.heddle.layers.Tanh;
import dev.heddle.testing.NoLeaks;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@NoLeaks
class TrainerTest {
    @TempDir
    private Path folder;

    private static ArrayDataset xor() {
        return ArrayDataset.of(new float[] {0, 0, 0, 1, 1, 0, 1, 1}, Shape.of(2), new long[] {0, 1, 1, 0}, 2);
    }

    /** Points in four dimensions, of three classes around centres that overlap a little. */
    private static ArrayDataset clusters(int n, long seed) {
        Random random = new Random(seed);
        float[] values = new float[n * 4];
        long[] labels = new long[n];
        for (int i = 0; i < n; i++) {
            labels[i] = random.nextInt(3);
            for (int k = 0; k < 4; k++) {
                values[4 * i + k] = (float) (random.nextGaussian() + (k == labels[i] ? 3 : 0));
            }
        }
        return ArrayDataset.of(values, Shape.of(4), labels, 3);
    }

    private static Sequential classifier() {
        return new Sequential(new Linear(4, 16), new BatchNorm1d(16), new ReLU(), new Dropout(0.3), new Linear(16, 3));
    }

    private static void assertSameState(Layer expected, Layer actual) {
        expected.state().forEach((name, variable) ->
                assertArrayEquals(variable.value().toFloatArray(), actual.state().get(name).value().toFloatArray(), name));
    }

    private static Optimizer adam(Layer model) {
        return Adam.of(model.parameters()).learningRate(0.01).build();
    }

    @Test
    void twoLayersLearnXor() {
        Init.seed(1);
        Sequential model = new Sequential(new Linear(2, 8), new Tanh(), new Linear(8, 2));
        History history = Trainer.of(model, Adam.of(model.parameters()).learningRate(0.05).build(), Losses::crossEntropy)
                .fit(DataLoader.of(xor(), 4).shuffle(1), 300);
        assertTrue(history.last().trainLoss() < 0.02, () -> "loss " + history.last().trainLoss());
        Classification result = Classification.of(model, DataLoader.of(xor(), 3), 2);
        assertEquals(1, result.accuracy());
        assertArrayEquals(new int[] {0, 1, 1, 0}, result.predictions());
        assertArrayEquals(new long[][] {{2, 0}, {0, 2}}, result.confusion());
        assertEquals(300, history.epochs().size());
        assertEquals(4, history.last().samples());
        assertNull(history.last().validation());
    }

    @Test
    void everyOptimizerLearnsXorWithoutTheTrainer() {
        for (int kind = 0; kind < 4; kind++) {
            Init.seed(3);
            Sequential model = new Sequential(new Linear(2, 16), new Tanh(), new Linear(16, 2));
            Optimizer optimizer = switch (kind) {
                case 0 -> SGD.of(model.parameters()).learningRate(0.2).momentum(0.9).nesterov(true).build();
                case 1 -> RMSprop.of(model.parameters()).learningRate(0.02).build();
                case 2 -> Adam.of(model.parameters()).learningRate(0.05).clipNorm(1).build();
                default -> AdamW.of(model.parameters()).learningRate(0.05).build();
            };
            DataLoader loader = DataLoader.of(xor(), 2).shuffle(2);
            double last = 0;
            for (int epoch = 0; epoch < 200; epoch++) {
                for (Batch batch : loader) {
                    Tensor loss = Losses.crossEntropy(model.forward(batch.input()), batch.target());
                    optimizer.step(loss.backward());
                    last = loss.item();
                }
            }
            assertTrue(last < 0.05, "optimizer " + kind + ": loss " + last);
            assertEquals(1, Classification.of(model, DataLoader.of(xor(), 4), 2).accuracy());
        }
    }

    @Test
    void theSameSeedGivesTheSameBits() {
        Layer[] models = new Layer[2];
        List<List<Double>> losses = List.of(new ArrayList<>(), new ArrayList<>());
        for (int run = 0; run < 2; run++) {
            Init.seed(5);
            models[run] = classifier();
            History history = Trainer.of(models[run], adam(models[run]), Losses::crossEntropy)
                    .fit(DataLoader.of(clusters(100, 1), 16).shuffle(9), 3);
            for (History.Epoch epoch : history.epochs()) {
                losses.get(run).add(epoch.trainLoss());
            }
        }
        assertSameState(models[0], models[1]);
        assertEquals(losses.get(0), losses.get(1));
        assertTrue(losses.get(0).get(2) < losses.get(0).get(0));
        Init.seed(6);
        assertNotEquals(models[0].state().get("0.weight").value().toFloatArray()[0], classifier().state().get("0.weight").value().toFloatArray()[0]);
    }

    @Test
    void aResumedRunGivesTheBitsOfOneThatWentOn() {
        Path file = folder.resolve("run.safetensors");
        Init.seed(7);
        Sequential model = classifier();
        Optimizer optimizer = adam(model);
        Trainer.of(model, optimizer, Losses::crossEntropy).afterEpoch(epoch -> {
            optimizer.learningRate(0.01 / (epoch.number() + 1));
            if (epoch.number() == 2) {
                Checkpoint.save(file, model, optimizer, Init.generator(), epoch.number(), Map.of("note", "half way"));
            }
        }).fit(DataLoader.of(clusters(100, 1), 16).shuffle(9), 4);

        Init.seed(1234);
        Sequential other = classifier();
        Optimizer resumed = Adam.of(other.parameters()).learningRate(1).build();
        Map<String, String> metadata = Checkpoint.load(file, other, resumed, Init.generator());
        assertEquals("half way", metadata.get("note"));
        assertEquals("2", metadata.get("epoch"));
        assertEquals(0.01 / 3, resumed.learningRate());
        DataLoader loader = DataLoader.of(clusters(100, 1), 16).shuffle(9);
        loader.epoch(2);
        Trainer.of(other, resumed, Losses::crossEntropy).afterEpoch(epoch -> resumed.learningRate(0.01 / (epoch.number() + 3))).fit(loader, 2);
        assertSameState(model, other);
        optimizer.state().forEach((name, tensor) ->
                assertArrayEquals(tensor.toDoubleArray(), resumed.state().get(name).toDoubleArray(), name));
        assertEquals(0.01 / 5, resumed.learningRate());
    }

    @Test
    void aCheckpointThatDoesNotFitChangesNothing() throws IOException {
        Path file = folder.resolve("model.safetensors");
        Init.seed(7);
        Sequential saved = classifier();
        Optimizer optimizer = adam(saved);
        Trainer.of(saved, optimizer, Losses::crossEntropy).fit(DataLoader.of(clusters(20, 1), 16), 1);
        Checkpoint.save(file, saved, optimizer, Init.generator(), 1, Map.of());

        Sequential model = classifier();
        Map<String, Variable> state = model.state();
        List<float[]> before = state.values().stream().map(v -> v.value().toFloatArray()).toList();
        Optimizer sgd = SGD.of(model.parameters()).momentum(0.9).build();
        assertTrue(assertThrows(CheckpointException.class, () -> Checkpoint.load(file, model, sgd, null)).getMessage().contains("exp_avg"));
        Sequential wider = new Sequential(new Linear(4, 17), new Linear(17, 3));
        String message = assertThrows(CheckpointException.class, () -> Checkpoint.load(file, wider, null, null)).getMessage();
        assertTrue(message.contains("0.weight is f32(16, 4) instead of f32(17, 4)") && message.contains("unexpected 4.weight"), message);

        SafeTensors content = SafeTensors.read(file);
        for (String key : List.of("generator", "epoch", "format")) {
            Path broken = folder.resolve("broken");
            Map<String, String> metadata = new java.util.HashMap<>(content.metadata());
            metadata.put(key, "x 1");
            new SafeTensors(content.tensors(), metadata).write(broken);
            Optimizer adam = adam(model);
            assertThrows(CheckpointException.class, () -> Checkpoint.load(broken, model, adam, Init.generator()), key);
            metadata.remove(key);
            new SafeTensors(content.tensors(), metadata).write(broken);
            assertThrows(CheckpointException.class, () -> Checkpoint.load(broken, model, adam, Init.generator()), key);
            assertEquals(0, adam.state().get("0.step").item());
        }
        byte[] bytes = Files.readAllBytes(file);
        Path cut = Files.write(folder.resolve("cut"), java.util.Arrays.copyOf(bytes, bytes.length / 2));
        assertThrows(CheckpointException.class, () -> Checkpoint.load(cut, model, null, null));
        for (int i = 0; i < before.size(); i++) {
            assertArrayEquals(before.get(i), List.copyOf(state.values()).get(i).value().toFloatArray());
        }
        Checkpoint.load(file, model, null, null);
        assertSameState(saved, model);
    }

    @Test
    void aLossThatBlowsUpIsReported() {
        Init.seed(1);
        Sequential model = new Sequential(new Linear(4, 3));
        Optimizer optimizer = SGD.of(model.parameters()).learningRate(1e30).build();
        Trainer trainer = Trainer.of(model, optimizer, (output, target) -> Losses.crossEntropy(output.square().mul(output), target));
        String message = assertThrows(NonFiniteLossException.class, () -> trainer.fit(DataLoader.of(clusters(60, 1), 10), 2)).getMessage();
        assertTrue(message.contains("epoch 1") && message.contains("step 6"), message);
    }

    @Test
    void anEpochSaysWhatItWasLike() {
        Init.seed(2);
        Sequential model = new Sequential(new Linear(4, 3));
        Optimizer still = SGD.of(model.parameters()).learningRate(0).build(); // so that the loss can be recomputed
        ArrayDataset data = clusters(50, 3);
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        List<Integer> seen = new ArrayList<>();
        History history = Trainer.of(model, still, Losses::crossEntropy).validation(DataLoader.of(data, 20), 3)
                .progress(new PrintStream(text, true, StandardCharsets.UTF_8)).afterEpoch(epoch -> seen.add(epoch.number()))
                .fit(DataLoader.of(data, 16).shuffle(1), 2);
        assertEquals(List.of(1, 2), seen);
        Classification result = history.last().validation();
        assertEquals(result.loss(), history.last().trainLoss(), 1e-5);
        assertEquals(result.loss(), history.curve().getLast().loss(), 1e-5);
        assertEquals(List.of(4L, 8L), history.curve().stream().map(History.Point::step).toList());
        assertEquals(50, history.last().samples());
        assertTrue(history.samplesPerSecond() > 0);
        String[] lines = text.toString(StandardCharsets.UTF_8).split("\\R");
        assertEquals(2, lines.length);
        assertTrue(lines[1].startsWith("epoch 2/2: loss ") && lines[1].contains("accuracy"), lines[1]);

        float[] logits = model.forward(data.batch(java.util.stream.IntStream.range(0, 50).toArray(), 0).input()).toFloatArray();
        long[] labels = data.batch(java.util.stream.IntStream.range(0, 50).toArray(), 0).target().toLongArray();
        long[][] confusion = new long[3][3];
        double total = 0;
        for (int i = 0; i < 50; i++) {
            int best = 0;
            double sum = 0;
            for (int c = 0; c < 3; c++) {
                best = logits[3 * i + c] > logits[3 * i + best] ? c : best;
                sum += Math.exp(logits[3 * i + c]);
            }
            double loss = Math.log(sum) - logits[3 * i + (int) labels[i]];
            assertEquals(loss, result.losses()[i], 1e-5);
            assertEquals(best, result.predictions()[i]);
            confusion[(int) labels[i]][best]++;
            total += loss;
        }
        assertArrayEquals(confusion, result.confusion());
        assertEquals(total / 50, result.loss(), 1e-5);
        assertEquals((confusion[0][0] + confusion[1][1] + confusion[2][2]) / 50.0, result.accuracy(), 1e-12);
    }

    @Test
    void evaluationUsesRunningStatisticsAndRestoresTheMode() {
        Init.seed(4);
        Sequential model = classifier();
        DataLoader loader = DataLoader.of(clusters(30, 5), 7);
        float[] first = Classification.of(model, loader, 3).losses();
        assertTrue(model.training());
        assertArrayEquals(first, Classification.of(model, loader, 3).losses()); // no dropout, no statistics moved
        model.eval();
        Classification.of(model, loader, 3);
        assertFalse(model.training());
        assertThrows(ShapeException.class, () -> Classification.of(model, loader, 4));

        float[] before = model.state().get("1.running_mean").value().toFloatArray();
        Trainer.of(model, SGD.of(model.parameters()).learningRate(0).build(), Losses::crossEntropy).validation(loader, 3).fit(loader, 1);
        assertTrue(model.training(), "training puts a model into training mode");
        assertFalse(java.util.Arrays.equals(before, model.state().get("1.running_mean").value().toFloatArray()));
    }

    @Test
    void aSteadyEpochCompilesNoPlanAndTakesNoMemoryFromTheSystem() {
        Init.seed(4);
        Sequential model = classifier();
        Trainer trainer = Trainer.of(model, adam(model), Losses::crossEntropy);
        DataLoader loader = DataLoader.of(clusters(200, 5), 16).shuffle(1);
        trainer.fit(loader, 2);
        long plans = Debug.plansCompiled();
        long allocations = NativeMemory.nativeAllocations();
        trainer.fit(loader, 3);
        assertEquals(plans, Debug.plansCompiled());
        assertEquals(allocations, NativeMemory.nativeAllocations());
    }

    @Test
    void nothingToTrainOnIsRefused() {
        Sequential model = new Sequential(new Linear(4, 3));
        Trainer trainer = Trainer.of(model, adam(model), Losses::crossEntropy);
        assertThrows(IllegalArgumentException.class, () -> trainer.fit(DataLoader.of(clusters(5, 1), 6).dropLast(), 1));
        assertThrows(IllegalArgumentException.class, () -> trainer.fit(DataLoader.of(clusters(5, 1), 5), 0));
    }
}
