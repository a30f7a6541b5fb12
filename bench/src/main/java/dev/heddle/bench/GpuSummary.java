// The report as tables: what ran, what was asked for and what came out, and each number beside its peer and its limit.
package dev.heddle.bench;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Markdown from the tree that {@link GpuReport} made. */
final class GpuSummary {
    private static final List<String> BANDWIDTH_BOUND = List.of("add", "gelu", "chain", "sum", "softmax", "layernorm", "layernorm_backward", "rmsnorm");

    private static final double SAME_MODEL = 0.01; // of the loss, on each step

    private final JsonNode report;
    private final StringBuilder text = new StringBuilder();
    private final boolean standIn;
    private final boolean quick;
    private final double copy; // GB/s

    GpuSummary(JsonNode report) {
        this.report = report;
        standIn = report.path("device").path("stand_in").asBoolean();
        quick = report.has("options");
        copy = report.path("device").path("copy_gb_per_s").asDouble(Double.NaN);
    }

    String text() {
        line("# Heddle on %s", standIn ? "the stand-in (no GPU)" : report.get("ran_on").asText());
        line("");
        if (standIn) {
            line("**This ran on %s.**", report.get("ran_on").asText());
            line("");
        }
        if (quick) {
            line("**A quick run, at sizes too small to say how fast anything is.**%n");
        }
        line("%s; Java %s; %s", report.get("date").asText(), report.get("java").asText(), report.path("build").asText().replace("\n", "; "));
        for (String from : List.of("host", "nvidia-smi")) {
            report.path(from).asText().lines().forEach(l -> line("%n    %s", l));
        }
        report.path("device").path("libraries").forEach(l -> line("- %s", l.asText()));
        line("%n- a copy in device memory moves %s GB/s", number(copy, 0));
        stages();
        goals();
        kernels();
        training();
        models();
        failures();
        return text.toString();
    }

    private void stages() {
        line("%n## Stages%n%n| stage | status | seconds | |%n|---|---|---|---|");
        for (Map.Entry<String, JsonNode> entry : report.get("stages").properties()) {
            JsonNode stage = entry.getValue();
            String tests = stage.has("tests") ? stage.get("tests") + " tests, " + stage.get("tests_failed") + " failed, "
                    + stage.get("tests_skipped") + " skipped" : "";
            String reason = stage.path("reason").asText(stage.path("incomplete").asText());
            if (entry.getKey().equals("soak") && reason.isEmpty()) {
                reason = stage.path("last_line").asText();
            }
            line("| %s | %s | %s | %s |", entry.getKey(), stage.get("status").asText(), number(stage.get("seconds").asDouble(), 1),
                    tests + (tests.isEmpty() || reason.isEmpty() ? "" : "; ") + reason.replace("|", "\\|"));
        }
    }

    // ---- what was asked for

    private double model(String variant) {
        JsonNode peer = numbers("models_torch").path("gpt2");
        return peer.path("loss_difference").asDouble(Double.NaN) <= SAME_MODEL
                ? median(numbers("models").path("gpt2").path("units_per_second")) / median(peer.path(variant).path("units_per_second")) : Double.NaN;
    }

    private void goals() {
        line("%n## Goals%n%n| | wanted | measured | met |%n|---|---|---|---|");
        for (String stage : List.of("op_table", "random_graphs", "kernels", "determinism", "soak", "memcheck", "racecheck")) {
            JsonNode status = report.get("stages").path(stage).path("status");
            goal(stage.replace('_', ' '), "passes", status.asText("not run"), status.asText().matches("|skipped") ? null : status.asText().equals("passed"));
        }
        double accuracy = numbers("mnist").path("test_accuracy").asDouble(Double.NaN);
        goal("MNIST, test accuracy after " + numbers("mnist").path("epochs").asText("12") + " epochs", "at least 0.990", number(accuracy, 4), met(accuracy >= 0.99, accuracy));
        double matmul = ratio("matmul bf16 8192x8192x8192");
        goal("matmul bf16 8192^3, speed / PyTorch", "at least 0.98", number(matmul, 3), met(matmul >= 0.98, matmul));
        double worst = Double.NaN;
        String slowest = "";
        for (Map.Entry<String, JsonNode> entry : numbers("bench").path("cases").properties()) {
            double part = entry.getValue().path("gb_per_s").asDouble(Double.NaN) / copy;
            if (BANDWIDTH_BOUND.contains(entry.getKey().split(" ")[0]) && !(part >= worst)) {
                worst = part;
                slowest = " (" + entry.getKey() + ")";
            }
        }
        goal("elementwise kernels and norms, share of copy bandwidth", "at least 0.85", number(worst, 2) + slowest, met(worst >= 0.85, worst));
        double adamw = numbers("bench").path("cases").path("adamw f32 124439808").path("us").asDouble(Double.NaN);
        goal("AdamW on 124M parameters, us", "at most 1000", number(adamw, 0), met(adamw <= 1000, adamw));
        double launch = numbers("host").path("launch").path("launch_us").path("median").asDouble(Double.NaN);
        goal("host, us a launch outside a graph", "at most 3", number(launch, 2), met(launch <= 3, launch));
        double step = numbers("host").path("replay").path("evaluate_us").path("median").asDouble(Double.NaN);
        goal("host, us of processor time to evaluate a step", "at most 20", number(step, 1), met(step <= 20, step));
        double gpt = model("compile");
        goal("GPT-2 124M, bf16, speed / PyTorch compiled", "at least 1", number(gpt, 3), met(gpt >= 1, gpt));
        double losses = numbers("models_torch").path("gpt2").path("loss_difference").asDouble(Double.NaN);
        goal("GPT-2 124M, loss of 200 steps, largest difference from PyTorch's", "at most 1%", scientific(losses), met(losses <= SAME_MODEL, losses));
        for (String model : List.of("mlp", "cnn")) {
            double speed = speed(model, "eager");
            goal("training " + model.toUpperCase(Locale.ROOT) + ", batch 128, speed / PyTorch eager", "at least 2", number(speed, 2), met(speed >= 2, speed));
        }
    }

    private static Boolean met(boolean met, double value) {
        return Double.isNaN(value) ? null : met;
    }

    private void goal(String what, String wanted, String measured, Boolean met) {
        line("| %s | %s | %s | %s |", what, wanted, measured, met == null ? "not measured" : standIn ? "not a GPU" : quick ? "quick run" : met ? "yes" : "**no**");
    }

    // ---- numbers

    private void kernels() {
        JsonNode cases = numbers("bench").path("cases");
        if (cases.isEmpty()) {
            return;
        }
        line("%n## Kernels%n%nMedians; bytes are those that must move, the share is of the copy bandwidth, and of what our own copy came to beside"
                + " the kernel. Ratio: PyTorch's best time over ours.%n");
        line("| case | us | spread | GB/s | share | of our copy | TFLOP/s | host us | PyTorch eager us | compiled us | ratio |%n|---|---|---|---|---|---|---|---|---|---|---|");
        for (Map.Entry<String, JsonNode> entry : cases.properties()) {
            JsonNode ours = entry.getValue();
            if (ours.has("failure")) {
                line("| %s | failed: %s ||||||||||", entry.getKey(), ours.get("failure").asText().replace("|", "\\|").lines().findFirst().orElse(""));
                continue;
            }
            double us = ours.path("us").asDouble(Double.NaN);
            JsonNode peer = numbers("bench_torch").path("cases").path(entry.getKey());
            line("| %s | %s | %s - %s | %s | %s | %s | %s | %s | %s | %s | %s |", entry.getKey(), number(us, 1), number(ours.path("us_min").asDouble(), 1),
                    number(ours.path("us_max").asDouble(), 1), number(ours.path("gb_per_s").asDouble(), 0),
                    number(ours.path("gb_per_s").asDouble() / copy, 2), number(ours.path("percent_of_copy").asDouble(Double.NaN) / 100, 2),
                    number(ours.path("gflop_per_s").asDouble() / 1e3, 1),
                    number(ours.path("host_us").asDouble(), 1), number(median(peer.path("eager_us")), 1), number(median(peer.path("compile_us")), 1),
                    number(ratio(entry.getKey()), 2));
        }
    }

    private void training() {
        if (numbers("training").isEmpty()) {
            return;
        }
        line("%n## Training%n%nSteps a second, the loss read every 50 steps; in brackets, Heddle over PyTorch. f32 without TF32 on both sides.%n");
        line("| model | batch | Heddle | loss read each step | host us a step | eager | whole step in a CUDA graph | compiled | compiled, CUDA graphs | losses differ by |");
        line("|---|---|---|---|---|---|---|---|---|---|");
        for (Map.Entry<String, JsonNode> entry : numbers("training").properties()) {
            JsonNode ours = entry.getValue();
            String model = entry.getKey();
            List<String> peers = new ArrayList<>();
            for (String variant : List.of("eager", "cuda_graph", "compile", "compile_cuda_graphs")) {
                double steps = median(numbers("training_torch").path(model).path(variant).path("steps_per_second"));
                peers.add(number(steps, 0) + (Double.isNaN(steps) ? "" : " (" + number(speed(model, variant), 2) + ")"));
            }
            line("| %s | %s | %s | %s | %s | %s | %s |", model.toUpperCase(Locale.ROOT), ours.path("batch").asText(),
                    number(median(ours.path("steps_per_second")), 0), number(median(ours.path("steps_per_second_loss_read")), 0),
                    number(median(ours.path("host_cpu_us_per_step")), 1), String.join(" | ", peers),
                    scientific(numbers("training_torch").path(model).path("loss_difference").asDouble(Double.NaN)));
        }
        JsonNode replay = numbers("host").path("replay");
        line("%nHost, a step of a three-layer perceptron: %s us to record, %s us to evaluate (%s kernel calls in one graph).",
                number(median(replay.path("record_us")), 1), number(median(replay.path("evaluate_us")), 1), replay.path("calls").asText("?"));
    }

    private void models() {
        if (numbers("models").isEmpty()) {
            return;
        }
        line("%n## Models%n%nbf16 with f32 master weights; tokens or images a second, in brackets Heddle over PyTorch, and peak memory.%n");
        line("| model | Heddle | TFLOP/s | GB | eager | compiled | compiled, CUDA graphs | losses differ by |%n|---|---|---|---|---|---|---|---|");
        for (Map.Entry<String, JsonNode> entry : numbers("models").properties()) {
            JsonNode ours = entry.getValue();
            JsonNode theirs = numbers("models_torch").path(entry.getKey());
            double rate = median(ours.path("units_per_second"));
            double difference = theirs.path("loss_difference").asDouble(Double.NaN);
            List<String> peers = new ArrayList<>();
            for (String variant : List.of("eager", "compile", "compile_cuda_graphs")) {
                double peer = median(theirs.path(variant).path("units_per_second"));
                peers.add(number(peer, 0) + (difference <= SAME_MODEL ? " (" + number(rate / peer, 2) + ", " : " (")
                        + number(theirs.path(variant).path("peak_bytes").asDouble(Double.NaN) / 1e9, 1) + " GB)");
            }
            line("| %s | %s %s | %s | %s | %s | %s |", entry.getKey(), number(rate, 0), ours.path("unit").asText(),
                    number(ours.path("tflop_per_s").asDouble(Double.NaN), 1), number(ours.path("peak_bytes").asDouble(Double.NaN) / 1e9, 1),
                    String.join(" | ", peers), scientific(difference));
        }
    }

    private void failures() {
        for (Map.Entry<String, JsonNode> entry : report.get("stages").properties()) {
            JsonNode stage = entry.getValue();
            if (!stage.get("status").asText().matches("passed|skipped")) {
                line("%n## %s %s%n", entry.getKey(), stage.get("status").asText());
                stage.path("failures").forEach(failure -> line("- %s", failure.asText()));
                line("%n```%n%s%n```", stage.path("log_tail").asText());
            }
        }
    }

    private JsonNode numbers(String stage) {
        return report.get("stages").path(stage).path("numbers");
    }

    /** PyTorch's best time over ours; NaN unless both were measured. */
    private double ratio(String name) {
        JsonNode peer = numbers("bench_torch").path("cases").path(name);
        double eager = median(peer.path("eager_us"));
        double compiled = median(peer.path("compile_us"));
        double best = Double.isNaN(compiled) ? eager : Math.min(eager, compiled);
        return best / numbers("bench").path("cases").path(name).path("us").asDouble(Double.NaN);
    }

    /** Our steps a second over PyTorch's, if the losses agree. */
    private double speed(String model, String variant) {
        JsonNode peer = numbers("training_torch").path(model);
        boolean same = peer.path("loss_difference").asDouble(Double.NaN) <= 5e-3;
        return same ? median(numbers("training").path(model).path("steps_per_second")) / median(peer.path(variant).path("steps_per_second")) : Double.NaN;
    }

    private static double median(JsonNode values) {
        return values.path("median").asDouble(Double.NaN);
    }

    private static String number(double value, int digits) {
        return Double.isNaN(value) ? "-" : String.format(Locale.ROOT, "%." + digits + "f", value);
    }

    private static String scientific(double value) {
        return Double.isNaN(value) ? "-" : String.format(Locale.ROOT, "%.1e", value);
    }

    private void line(String format, Object... arguments) {
        text.append(arguments.length == 0 && !format.contains("%n") ? format : String.format(Locale.ROOT, format, arguments)).append('\n');
    }
}
