// heddle devices
package dev.heddle.samples;

import dev.heddle.engine.cuda.CudaBackend;
import dev.heddle.engine.cuda.CudaLibraries;
import dev.heddle.engine.cpu.OneDnn;
import dev.heddle.engine.cpu.WorkerPool;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import jdk.incubator.vector.FloatVector;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Says what can be computed on, which libraries were found where, and why others were not. */
@Command(name = "devices", mixinStandardHelpOptions = true, description = "Show devices and libraries.")
final class DevicesCommand implements Callable<Integer> {
    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() {
        PrintWriter out = spec.commandLine().getOut();
        Runtime runtime = Runtime.getRuntime();
        out.printf("cpu: %d processors, %d threads used, vectors of %d bits, Java %s%n", runtime.availableProcessors(),
                WorkerPool.shared().threads(), FloatVector.SPECIES_PREFERRED.vectorBitSize(), Runtime.version());
        out.println("  oneDNN: " + (OneDnn.available() ? OneDnn.version() + ", in use" : "not used: " + OneDnn.unavailableReason()));
        String reason = CudaBackend.unavailable(0);
        out.println(reason == null ? "cuda:" : "cuda: not usable: " + reason);
        CudaBackend.devices().forEach(device -> out.println("  " + device));
        CudaLibraries.report().forEach(library -> out.println("  " + library));
        out.flush();
        return 0;
    }
}
