// A plan's kernels, launched as one CUDA graph: a step costs the host one call instead of hundreds.
package dev.heddle.engine.cuda;

import dev.heddle.engine.plan.Kernel;
import java.util.Arrays;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The first run launches the kernels one by one, so that libraries load and choose their algorithms; the second captures them;
 * all others replay. If an address has changed, the kernels are captured again and the executable graph is updated,
 * which is much cheaper than making another.
 */
final class CudaGraph implements Runnable {
    private static final Logger LOG = LoggerFactory.getLogger(CudaGraph.class);

    private final CudaDevice device;
    private final Kernel[] kernels;
    private final long[][] addresses;
    private final long[][] captured; // the addresses the graph was made for
    private long runs;
    private long exec;
    private boolean capturable = true;

    CudaGraph(CudaDevice device, Kernel[] kernels, long[][] addresses) {
        this.device = device;
        this.kernels = kernels;
        this.addresses = addresses;
        captured = new long[addresses.length][];
    }

    @Override
    public void run() {
        device.enter();
        if (kernels.length == 0) {
            return;
        }
        if (runs++ == 0 || !capturable) {
            launchAll();
            return;
        }
        if (exec == 0 || moved()) {
            capture();
        }
        if (exec != 0) {
            Driver.graphLaunch(exec, device.stream);
        } else {
            launchAll();
        }
    }

    private void launchAll() {
        for (int i = 0; i < kernels.length; i++) {
            kernels[i].run(addresses[i]);
        }
    }

    private boolean moved() {
        for (int i = 0; i < addresses.length; i++) {
            if (!Arrays.equals(addresses[i], captured[i])) {
                return true;
            }
        }
        return false;
    }

    private void capture() {
        long graph;
        device.capturing.lock();
        try {
            Driver.streamBeginCapture(device.stream, Driver.CU_STREAM_CAPTURE_MODE_RELAXED);
            try {
                launchAll();
            } finally {
                graph = Driver.streamEndCapture(device.stream);
            }
        } finally {
            device.capturing.unlock();
        }
        try {
            if (Driver.graphNodeCount(graph) == 0) {
                capturable = false; // nothing to launch; some steps have no elements
                return;
            }
            if (exec != 0) {
                int reason = Driver.graphExecUpdate(exec, graph);
                if (reason != Driver.CU_GRAPH_EXEC_UPDATE_SUCCESS) {
                    LOG.debug("cuda: graph of {} kernels cannot be updated (reason {}); made anew", kernels.length, reason);
                    Driver.graphExecDestroy(exec);
                    exec = 0;
                }
            }
            if (exec == 0) {
                exec = Driver.graphInstantiate(graph);
            }
        } finally {
            Driver.graphDestroy(graph);
        }
        for (int i = 0; i < addresses.length; i++) {
            captured[i] = addresses[i].clone();
        }
    }
}
