// Which binding was asked for. Most programs have none besides the engine's own, and carry nothing for it.
package dev.heddle.engine.cuda;

import java.util.List;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/** The {@link CudaBinding} that {@code -Dheddle.cuda.binding} names; by default {@code panama}, the engine's own. */
final class Bindings {
    static final String NAME = System.getProperty("heddle.cuda.binding", "panama");
    /** The binding; null for the engine's own, and if there is a {@link #PROBLEM}. */
    static final CudaBinding CHOSEN;
    /** Why the binding cannot be used, or null. */
    static final String PROBLEM;

    static {
        CudaBinding chosen = null;
        String problem = null;
        if (!NAME.equals("panama")) {
            try {
                chosen = ServiceLoader.load(CudaBinding.class, CudaBinding.class.getClassLoader()).stream()
                        .map(ServiceLoader.Provider::get).filter(binding -> binding.name().equals(NAME)).findFirst().orElse(null);
                problem = chosen == null ? "no jar on the class path has the binding " + NAME + " (jcuda is in heddle-jcuda)" : null;
            } catch (ServiceConfigurationError e) {
                problem = "the binding " + NAME + " does not start: " + e;
            }
        }
        CHOSEN = chosen;
        PROBLEM = problem;
    }

    private Bindings() {
    }

    /** Those versions of a library that the binding can do with. */
    static List<String> versions(String library, List<String> known) {
        String needed = CHOSEN == null ? null : CHOSEN.version(library);
        return needed == null ? known : List.of(needed);
    }

    /** Loads the binding's part for a loaded library; says what is wrong, or null. */
    static String link(String library) {
        if (CHOSEN == null) {
            return PROBLEM;
        }
        try {
            CHOSEN.link(library);
            return null;
        } catch (CudaException e) {
            return e.getMessage();
        }
    }
}
