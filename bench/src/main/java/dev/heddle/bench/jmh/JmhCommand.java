// heddle bench jmh
package dev.heddle.bench.jmh;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.heddle.bench.Results;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.openjdk.jmh.Main;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** JMH, and what its JSON lacks: where and of which commit it was measured. */
@Command(name = "jmh", description = "The JMH benchmarks: arguments are JMH's own, such as StepBenchmark or -l.")
public final class JmhCommand implements Callable<Integer> {
    @Option(names = "--json", paramLabel = "FILE", description = "Write the results to this file, for heddle bench report; in place of JMH's -rf and -rff.")
    private Path json;

    @Option(names = "--help", usageHelp = true, description = "Show this help message and exit; -h shows JMH's.")
    private boolean help;

    @Parameters(arity = "0..*", paramLabel = "ARG", description = "For JMH.")
    private List<String> arguments = new ArrayList<>();

    @Override
    public Integer call() throws IOException {
        if (json == null) {
            Main.main(arguments.toArray(String[]::new)); // ends the process itself if something goes wrong
            return 0;
        }
        Path file = Files.createTempFile("heddle-jmh", ".json");
        file.toFile().deleteOnExit();
        arguments.addAll(List.of("-rf", "json", "-rff", file.toString()));
        Main.main(arguments.toArray(String[]::new));
        JsonNode benchmarks = new ObjectMapper().readTree(Files.readAllBytes(file));
        if (benchmarks.isEmpty()) {
            throw new IOException("jmh: no benchmark gave a result; " + json + " was not written");
        }
        benchmarks.forEach(benchmark -> ((ObjectNode) benchmark).remove("jvm")); // a path; what Java it is stands under machine
        ObjectNode report = Results.begin("jmh");
        report.set("benchmarks", benchmarks);
        Results.write(json, report);
        return 0;
    }
}
