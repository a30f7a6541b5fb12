// Gathers what the stages of gpu/run.sh left behind into one report.json, and a summary.md for people.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.SAXException;

/**
 * {@code GpuReport WORK OUT}: reads from {@code WORK} the list {@code stages.tsv} (name, status, seconds, reason), and of each stage its
 * {@code NAME.log}, {@code NAME.json} and the JUnit reports {@code NAME-tests*}; writes {@code OUT/report.json} and
 * {@code OUT/summary.md}.
 */
public final class GpuReport {
    private static final int TAIL = 40; // lines of a log that did not pass
    private static final int MAX_FAILURES = 40;
    private static final ObjectMapper JSON = new ObjectMapper();

    private GpuReport() {}

    /** Writes the report; exit status 1 if a stage did not pass. */
    public static void main(String[] arguments) throws IOException {
        Path work = Path.of(arguments[0]);
        Path out = Path.of(arguments[1]);
        ObjectNode report = JSON.createObjectNode();
        report.put("date", OffsetDateTime.now().withNano(0).toString()).put("java", Runtime.version().toString());
        for (String file : List.of("build", "options", "host", "nvidia-smi")) {
            if (Files.exists(work.resolve(file))) {
                report.put(file, Files.readString(work.resolve(file)).strip());
            }
        }
        JsonNode device = numbers(work.resolve("device.json"));
        report.set("device", device);
        boolean standIn = device.path("stand_in").asBoolean();
        report.put("ran_on", standIn ? "the stand-in over host memory: no GPU was used, and no number below says anything about one"
                : device.path("name").asText("no GPU: none can be used"));
        ObjectNode stages = report.putObject("stages");
        boolean good = true;
        for (String line : Files.readAllLines(work.resolve("stages.tsv"))) {
            String[] fields = line.split("\t", -1);
            ObjectNode stage = stages.putObject(fields[0]);
            stage(work, fields, stage);
            good &= stage.get("status").asText().matches("passed|skipped");
        }
        Files.writeString(out.resolve("report.json"), report.toPrettyString() + "\n");
        Files.writeString(out.resolve("summary.md"), new GpuSummary(report).text());
        System.exit(good ? 0 : 1);
    }

    private static void stage(Path work, String[] fields, ObjectNode stage) throws IOException {
        String name = fields[0];
        stage.put("status", fields[1]).put("seconds", Double.parseDouble(fields[2]));
        if (!fields[3].isEmpty()) {
            stage.put("reason", fields[3]);
        }
        List<Path> tests;
        try (Stream<Path> files = Files.list(work)) {
            tests = files.filter(f -> f.getFileName().toString().startsWith(name + "-tests")).sorted().toList();
        }
        if (!tests.isEmpty()) {
            tests(tests, stage);
        }
        JsonNode numbers = numbers(work.resolve(name + ".json"));
        if (!numbers.isMissingNode()) {
            stage.set("numbers", numbers);
        }
        Path log = work.resolve(name + ".log");
        if (Files.exists(log)) {
            List<String> lines = Files.readString(log, StandardCharsets.ISO_8859_1).lines()
                    .filter(l -> !l.isBlank() && !l.matches("\\s+at (java\\.|jdk\\.|org\\.junit\\.).*")).toList();
            if (!lines.isEmpty()) {
                stage.put("last_line", lines.getLast());
            }
            if (!stage.get("status").asText().equals("passed")) {
                stage.put("log_tail", String.join("\n", lines.subList(Math.max(0, lines.size() - TAIL), lines.size())));
            }
        }
    }

    /** Counts, and the names of what failed; a stage that ran no test at all has not passed. */
    private static void tests(List<Path> folders, ObjectNode stage) throws IOException {
        int run = 0;
        int failed = 0;
        int skipped = 0;
        ArrayNode failures = JSON.createArrayNode();
        for (Path folder : folders) {
            Path file = folder.resolve("TEST-junit-jupiter.xml");
            if (!Files.exists(file)) {
                stage.put("incomplete", "a JVM ended before it had written its report");
                continue;
            }
            NodeList cases = parse(file).getElementsByTagName("testcase");
            for (int i = 0; i < cases.getLength(); i++) {
                Element test = (Element) cases.item(i);
                run++;
                skipped += test.getElementsByTagName("skipped").getLength();
                for (String kind : List.of("failure", "error")) {
                    if (test.getElementsByTagName(kind).getLength() > 0) {
                        failed++;
                        if (failures.size() < MAX_FAILURES) {
                            Element failure = (Element) test.getElementsByTagName(kind).item(0);
                            String message = failure.getAttribute("message").isEmpty() ? failure.getTextContent() : failure.getAttribute("message");
                            failures.add(displayName(test) + ": " + message.lines().findFirst().orElse(""));
                        }
                    }
                }
            }
        }
        stage.put("tests", run).put("tests_failed", failed).put("tests_skipped", skipped);
        if (!failures.isEmpty()) {
            stage.set("failures", failures);
        }
        if (run == skipped && stage.get("status").asText().equals("passed")) {
            stage.put("status", "failed").put("reason", "no test was run");
        }
    }

    /** JUnit's legacy report has the name a parameter gave in its output. */
    private static String displayName(Element test) {
        NodeList output = test.getElementsByTagName("system-out");
        String text = output.getLength() > 0 ? output.item(0).getTextContent() : "";
        return test.getAttribute("name") + text.lines().filter(l -> l.startsWith("display-name: ")).map(l -> " " + l.substring(14)).findFirst().orElse("");
    }

    private static Element parse(Path file) throws IOException {
        try {
            return DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file.toFile()).getDocumentElement();
        } catch (ParserConfigurationException | SAXException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        }
    }

    private static JsonNode numbers(Path file) {
        try {
            return JSON.readTree(Files.readAllBytes(file));
        } catch (IOException absentOrCutOff) {
            return JSON.missingNode();
        }
    }
}
