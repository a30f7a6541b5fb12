// heddle embed
package dev.heddle.samples;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.engine.Device;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Turns texts into vectors with a pretrained model, and says how alike they are. */
@Command(name = "embed", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Turn texts into vectors (all-MiniLM-L6-v2), and say how alike they are.")
final class EmbedCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Parameters(arity = "1..*", paramLabel = "TEXT", description = "One text gives its vector, several a table of their cosines.")
    private List<String> texts;

    @Option(names = "--model", paramLabel = "DIR", description = "Folder with model.onnx and tokenizer.json; by default they are fetched.")
    private Path folder;

    @Option(names = "--device", defaultValue = "auto", description = "auto, cpu or cuda[:N]; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(names = "--json", description = "Print one line of JSON with the vectors and all cosines.")
    private boolean json;

    @Override
    public Integer call() {
        Device chosen = Device.parse(device);
        Device.use(chosen);
        float[][] vectors;
        try (MiniLm model = new MiniLm(MiniLm.locate(folder))) {
            vectors = model.embed(texts);
        }
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            ObjectNode line = new ObjectMapper().createObjectNode().put("model", "all-MiniLM-L6-v2").put("device", chosen.toString());
            line.putPOJO("texts", texts).putPOJO("embeddings", vectors);
            ArrayNode rows = line.putArray("similarity");
            for (float[] a : vectors) {
                ArrayNode row = rows.addArray();
                for (float[] b : vectors) {
                    row.add(MiniLm.similarity(a, b));
                }
            }
            out.println(line);
        } else if (texts.size() == 1) {
            out.println(java.util.Arrays.toString(vectors[0]));
        } else {
            for (int i = 0; i < vectors.length; i++) {
                for (float[] other : vectors) {
                    out.printf(Locale.ROOT, "%7.3f", MiniLm.similarity(vectors[i], other));
                }
                out.println("  " + texts.get(i));
            }
        }
        out.flush();
        return 0;
    }
}
