// A process that trains when it is told to.
package dev.heddle.bench.peer;

import dev.heddle.bench.ChildJvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** A {@link PeerWorker} in a process of its own. */
final class Worker implements AutoCloseable {
    /** What all sides compute with lies outside the heap, and an unbounded heap would count garbage as memory needed. */
    private static final List<String> JVM = List.of("-Xmx128m", "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0");

    private final ChildJvm jvm;

    /** Starts {@code heddle}, {@code libtorch} or {@code djl}; {@code bf16} is a precision too. */
    Worker(String side, Workload workload, String precision, Setting setting) throws IOException {
        jvm = new ChildJvm(side + " (" + setting.name() + "), " + workload, PeerWorker.class, Stream.concat(JVM.stream(), setting.options().stream()).toList(),
                setting.environment(), List.of(side, workload.name(), precision));
    }

    /** The losses of the first steps. */
    double[] losses(int steps) throws IOException {
        return Arrays.stream(jvm.ask("check " + steps).split(" ")).mapToDouble(Double::parseDouble).toArray();
    }

    /** Trains for so long; steps a second. */
    double run(double seconds) throws IOException {
        return Double.parseDouble(jvm.ask("run " + seconds));
    }

    /** The most memory it ever had resident, in bytes. */
    long peakBytes() throws IOException {
        return Long.parseLong(jvm.ask("memory"));
    }

    /** Its processor time so far, in ticks of 10 ms. */
    long ticks() throws IOException {
        String stat = Files.readString(Path.of("/proc/" + jvm.pid() + "/stat"));
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
    }

    @Override
    public void close() throws IOException {
        jvm.close();
    }
}
