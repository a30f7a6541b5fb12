// Finds tests, and with them code, that hold on to tensors.
package dev.heddle.testing;

import dev.heddle.engine.Tensor;
import dev.heddle.engine.memory.Buffer;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Fails a test after which more tensor memory is in use than before. What the test has let go of is collected first; what is
 * left is held by something that outlives the test: a static field, a cache, a thread. Put it on a class or a method:
 *
 * <pre>{@code
 * @NoLeaks
 * class MyModelTest { ... }
 * }</pre>
 *
 * <p>Scratch memory that the engine keeps for its next evaluation does not count. Tests that run at the same time in one JVM
 * disturb each other's counts.
 */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@ExtendWith(NoLeaks.Extension.class)
public @interface NoLeaks {
    /** The extension behind the annotation. */
    final class Extension implements BeforeEachCallback, AfterEachCallback {
        private static final ExtensionContext.Namespace NAMESPACE = ExtensionContext.Namespace.create(Extension.class);
        private static final int ROUNDS = 25;

        @Override
        public void beforeEach(ExtensionContext context) {
            context.getStore(NAMESPACE).put("bytes", settled(0, 3));
        }

        @Override
        public void afterEach(ExtensionContext context) {
            long before = context.getStore(NAMESPACE).get("bytes", Long.class);
            long after = settled(before, ROUNDS);
            if (after > before) {
                throw new AssertionError(context.getDisplayName() + " leaked " + (after - before) + " bytes of tensor memory (" + before
                        + " before, " + after + " after): something that outlives the test holds a tensor; close() it or let go of it");
            }
        }

        /** Bytes in use once garbage has been collected: as soon as they are down to a target, or the same for some rounds. */
        private static long settled(long target, int patience) {
            Tensor.scalar(1).add(1).eval().close(); // what was recorded and never read is held until the next evaluation
            long bytes = Long.MAX_VALUE;
            int same = 0;
            for (int round = 0; bytes > target && same < patience; round++) {
                System.gc();
                Buffer.drain();
                long now = Buffer.tensorBytes();
                same = now == bytes ? same + 1 : 0;
                bytes = now;
                try {
                    Thread.sleep(bytes > target ? round : 0); // references are enqueued by another thread
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    return bytes;
                }
            }
            return bytes;
        }
    }
}
