// heddle generate
package dev.heddle.samples;

import dev.heddle.engine.Device;
import dev.heddle.layers.Gpt;
import dev.heddle.training.Checkpoint;
import dev.heddle.training.CheckpointException;
import dev.heddle.training.SafeTensors;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Writes text with a model that {@code heddle train gpt} or {@code heddle train lstm} has saved. */
@Command(name = "generate", mixinStandardHelpOptions = true, description = "Write text with a trained GPT or LSTM.", sortOptions = false)
final class GenerateCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(arity = "0..1", defaultValue = "", paramLabel = "PROMPT", description = "Text to go on from.")
    private String prompt;

    @Option(names = "--model", paramLabel = "FILE", defaultValue = "runs/gpt/model.safetensors", description = "Default: ${DEFAULT-VALUE}.")
    private Path file;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--count", defaultValue = "500", description = "Tokens to write; default: ${DEFAULT-VALUE}.")
    private int count;

    @Option(names = "--temperature", defaultValue = "0.8", description = "0 takes the likeliest token; default: ${DEFAULT-VALUE}.")
    private double temperature;

    @Option(names = "--top-k", defaultValue = "40", description = "Choose among so many; default: ${DEFAULT-VALUE}.")
    private int topK;

    @Option(names = "--top-p", defaultValue = "1", description = "Choose among those that make up this probability; default: ${DEFAULT-VALUE}.")
    private double topP;

    @Option(names = "--seed", defaultValue = "1", description = "Same seed, same text; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Override
    public Integer call() {
        Device.use(Device.parse(device));
        Map<String, String> metadata = SafeTensors.read(file).metadata();
        String kind = metadata.getOrDefault("model", "");
        if (!kind.equals("gpt") && !kind.equals("lstm")) {
            throw new CheckpointException(file + ": holds a model '" + kind + "' that writes no text");
        }
        Vocabulary vocabulary = Vocabulary.parse(metadata.getOrDefault("tokenizer", ""));
        TextGenerator generator;
        if (kind.equals("gpt")) {
            Gpt model = new Gpt(new Gpt.Config(vocabulary.size(), number(metadata, "context"), number(metadata, "layers"),
                    number(metadata, "heads"), number(metadata, "dim"), 0));
            Checkpoint.load(file, model, null, null);
            generator = new TextGenerator(model, vocabulary.tokenizer(), temperature, topK, topP, seed);
        } else {
            CharLstm model = new CharLstm(vocabulary.size(), number(metadata, "dim"), number(metadata, "layers"), 0);
            Checkpoint.load(file, model, null, null);
            generator = new TextGenerator(model, vocabulary.tokenizer(), temperature, topK, topP, seed);
        }
        PrintWriter out = spec.commandLine().getOut();
        out.print(prompt);
        generator.generate(prompt, count, piece -> {
            out.print(piece);
            out.flush();
        });
        out.println();
        out.flush();
        return 0;
    }

    private int number(Map<String, String> metadata, String key) {
        try {
            return Integer.parseInt(metadata.getOrDefault(key, ""));
        } catch (NumberFormatException e) {
            throw new CheckpointException(file + ": metadata has no number '" + key + "'");
        }
    }
}
