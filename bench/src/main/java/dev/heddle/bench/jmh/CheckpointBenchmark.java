// Writing and reading a checkpoint: parameters, optimizer state, random generator, synced to disk.
package dev.heddle.bench.jmh;

import dev.heddle.engine.Generator;
import dev.heddle.engine.Tensor;
import dev.heddle.layers.Gpt;
import dev.heddle.layers.Init;
import dev.heddle.training.AdamW;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.Losses;
import dev.heddle.training.Optimizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.TearDown;

/** A GPT of 4 blocks and 256 features after its first step of AdamW: 40 MB, in the folder for temporary files. */
public class CheckpointBenchmark extends EngineBenchmark {
    private Gpt model;
    private Optimizer optimizer;
    private Generator generator;
    private Path file;

    /** Makes a model and trains it for a step, so that there is optimizer state. */
    @Setup
    public void setup() throws IOException {
        Init.seed(1);
        model = new Gpt(new Gpt.Config(256, 128, 4, 8, 256, 0));
        optimizer = AdamW.of(model.parameters()).build();
        generator = new Generator(1);
        Tensor tokens = integers(256, 1, 16);
        optimizer.step(Losses.crossEntropy(model.forward(tokens).reshape(16, 256), tokens.reshape(16)).backward());
        file = Files.createTempFile("heddle", ".checkpoint");
        write();
        System.out.printf("%n%.1f MB%n", Files.size(file) / 1e6);
    }

    /** Removes the file. */
    @TearDown
    public void remove() throws IOException {
        Files.deleteIfExists(file);
    }

    /** Writes. */
    @Benchmark
    public void write() {
        Checkpoint.save(file, model, optimizer, generator, 1, Map.of());
    }

    /** Reads. */
    @Benchmark
    public void read() {
        Checkpoint.load(file, model, optimizer, generator);
    }
}
