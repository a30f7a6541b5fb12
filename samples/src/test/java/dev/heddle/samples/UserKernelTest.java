package dev.heddle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.heddle.testing.NoLeaks;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import org.junit.jupiter.api.Test;

@NoLeaks
class UserKernelTest {
    @Test
    void theSampleAgreesWithItsMeaning() {
        PrintStream out = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        try {
            System.setOut(new PrintStream(printed, true));
            UserKernel.main(new String[0]);
        } finally {
            System.setOut(out);
        }
        assertEquals(2, printed.toString().lines().filter(line -> line.endsWith(" by 0.0")).count(), printed.toString());
    }
}
