// How a library is run: with the wrong threads libtorch is up to forty times slower, so each library gets its best setting.
package dev.heddle.bench.peer;

import dev.heddle.training.CacheFolder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Environment and Java options of a worker process; the name goes into the report. */
public record Setting(String name, Map<String, String> environment, List<String> options) {
    /** Threads of all sides: {@code -Dheddle.threads} (from {@code JDK_JAVA_OPTIONS}, so the workers have it too), or the processors. */
    static int threads() {
        return Integer.getInteger("peer.threads", Integer.getInteger("heddle.threads", Runtime.getRuntime().availableProcessors()));
    }

    /**
     * What is tried for a library; the first is what its manual would say.
     *
     * @throws IOException if MKL cannot be unpacked
     */
    public static List<Setting> candidates(String library) throws IOException {
        int threads = threads();
        List<Setting> settings = new ArrayList<>();
        switch (library) {
            case "libtorch" -> {
                String mkl = Mkl.preload();
                if (mkl != null) {
                    Map<String, String> environment = Map.of("LD_PRELOAD", mkl, "MKL_THREADING_LAYER", "GNU");
                    settings.add(of("MKL", threads, environment));
                    if (threads > 1) {
                        settings.add(of("MKL, passive waiting", threads,
                                Map.of("LD_PRELOAD", mkl, "MKL_THREADING_LAYER", "GNU", "OMP_WAIT_POLICY", "passive")));
                        settings.add(of("MKL", 1, environment));
                    }
                }
                // its OpenBLAS and OpenMP pools must not spin against each other
                settings.add(of("OpenBLAS, passive waiting", threads, Map.of("OMP_WAIT_POLICY", "passive", "OPENBLAS_THREAD_TIMEOUT", "4")));
            }
            case "djl" -> {
                settings.add(of("MKL", threads, Map.of())); // is part of the library that DJL brings
                if (threads > 1) {
                    settings.add(of("MKL, passive waiting", threads, Map.of("OMP_WAIT_POLICY", "passive")));
                    settings.add(of("MKL", 1, Map.of()));
                }
            }
            default -> settings.add(new Setting(threads + (threads == 1 ? " thread" : " threads"), Map.of(), List.of()));
        }
        return settings;
    }

    private static Setting of(String name, int threads, Map<String, String> environment) {
        Map<String, String> all = new HashMap<>(environment);
        all.put("OMP_NUM_THREADS", Integer.toString(threads));
        all.put("OPENBLAS_NUM_THREADS", Integer.toString(threads));
        all.put("DJL_CACHE_DIR", CacheFolder.of("djl").toString()); // DJL unpacks its natives there
        all.put("OPT_OUT_TRACKING", "true");
        return new Setting(name + ", " + threads + (threads == 1 ? " thread" : " threads"), all, List.of("-Dpeer.threads=" + threads,
                "-Dai.djl.offline=true", "-Dai.djl.pytorch.num_threads=" + threads, "-Dai.djl.pytorch.num_interop_threads=1"));
    }
}
