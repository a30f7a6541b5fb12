// The extension that watches tests, watched.
package dev.heddle.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.engine.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

class NoLeaksTest {
    private static final List<Tensor> HELD = new ArrayList<>();

    /** Run by the test below only. */
    @NoLeaks
    @Tag("example")
    static class Examples {
        @Test
        void letsGo() {
            assertEquals(6, Tensor.of(1f, 2f, 3f).sum().item());
        }

        @Test
        void holdsOn() {
            HELD.add(Tensor.of(1f, 2f, 3f));
        }

        @Test
        void closes() {
            try (Tensor x = Tensor.of(1f, 2f, 3f)) {
                HELD.add(x);
            }
        }
    }

    private static TestExecutionSummary run(String method) {
        SummaryGeneratingListener listener = new SummaryGeneratingListener();
        LauncherFactory.create().execute(LauncherDiscoveryRequestBuilder.request()
                .selectors(DiscoverySelectors.selectMethod(Examples.class, method)).build(), listener);
        return listener.getSummary();
    }

    @Test
    void failsWhatHoldsOnToTensors() {
        assertEquals(1, run("letsGo").getTestsSucceededCount());
        assertEquals(1, run("closes").getTestsSucceededCount());
        TestExecutionSummary summary = run("holdsOn");
        assertEquals(1, summary.getTestsFailedCount());
        String message = summary.getFailures().getFirst().getException().getMessage();
        assertTrue(message.contains("leaked 12 bytes"), message);
        HELD.forEach(Tensor::close);
        HELD.clear();
    }

    @Test
    void assertionsNameTheWorstElement() {
        TensorAssertions.assertClose(Tensor.of(1f, 2f), Tensor.of(1f, 2.000001f), 1e-5, 0);
        AssertionError error = assertThrows(AssertionError.class,
                () -> TensorAssertions.assertClose(new double[] {1, 2, 3}, new double[] {1, 2.5, 3.1}, 0, 0.01, "x"));
        assertTrue(error.getMessage().contains("element 1 is 2.5, expected 2.0"), error.getMessage());
        assertThrows(AssertionError.class, () -> TensorAssertions.assertClose(Tensor.zeros(2), Tensor.zeros(3), 0, 0));
    }
}
