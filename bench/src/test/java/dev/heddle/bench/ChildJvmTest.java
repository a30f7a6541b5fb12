package dev.heddle.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class ChildJvmTest {
    /** A child that says what it was given, or dies. */
    public static final class Echo {
        private Echo() {}

        /** Serves, or fails before. */
        public static void main(String[] arguments) throws IOException {
            if (arguments.length == 0) {
                throw new IllegalArgumentException("no arguments");
            }
            ChildJvm.serve(command -> {
                if (command.equals("die")) {
                    throw new IllegalStateException("as it was told");
                }
                return command + " " + arguments[0] + " " + System.getProperty("option") + " " + System.getenv("VARIABLE");
            });
        }
    }

    @Test
    void answersUntilItEnds() throws IOException {
        try (ChildJvm child = new ChildJvm("echo", Echo.class, List.of("-Doption=b"), Map.of("VARIABLE", "c"), List.of("a"))) {
            assertEquals("x a b c", child.ask("x"));
            assertEquals("y a b c", child.ask("y"));
            String message = assertThrows(IOException.class, () -> child.ask("die")).getMessage();
            assertTrue(message.startsWith("echo: its process ended at 'die': ") && message.endsWith("IllegalStateException: as it was told"), message);
        }
    }

    @Test
    void aStartThatFailsSaysWhy() {
        String message = assertThrows(IOException.class, () -> new ChildJvm("echo", Echo.class, List.of(), Map.of(), List.of())).getMessage();
        assertTrue(message.startsWith("echo: its process ended at its start: ") && message.endsWith("no arguments"), message);
    }
}
