// What the README shows must compile and run.
package dev.heddle.samples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.heddle.testing.NoLeaks;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

@NoLeaks
class ReadmeTest {
    private static final String IMPORTS = """
            import dev.heddle.engine.*;
            import dev.heddle.engine.cuda.CudaKernel;
            import dev.heddle.layers.*;
            import dev.heddle.training.*;
            import java.util.List;
            """;

    @TempDir
    private Path folder;

    static List<String> snippets() throws Exception {
        List<String> snippets = new ArrayList<>();
        Matcher blocks = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL).matcher(Files.readString(Path.of("..", "README.md")));
        while (blocks.find()) {
            snippets.add(blocks.group(1));
        }
        return snippets;
    }

    @Test
    void thereAreSnippets() throws Exception {
        assertTrue(snippets().size() >= 3);
    }

    @ParameterizedTest
    @MethodSource("snippets")
    void compilesAndRuns(String snippet) throws Exception {
        Path source = folder.resolve("Snippet.java");
        Files.writeString(source, IMPORTS + "public class Snippet { public static void main(String[] args) throws Exception {\n" + snippet + "}}\n");
        StringWriter messages = new StringWriter();
        var compiler = ToolProvider.getSystemJavaCompiler();
        try (var files = compiler.getStandardFileManager(null, null, null)) {
            boolean compiled = compiler.getTask(messages, files, null, List.of("-d", folder.toString(), "-classpath",
                    System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"))), null,
                    files.getJavaFileObjects(source)).call();
            assertTrue(compiled, messages.toString());
        }
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream out = System.out;
        try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()}, getClass().getClassLoader())) {
            System.setOut(new PrintStream(printed, true));
            loader.loadClass("Snippet").getMethod("main", String[].class).invoke(null, (Object) new String[0]);
        } finally {
            System.setOut(out);
        }
        Matcher expected = Pattern.compile("println\\(.*\\); +// ([0-9.]+):").matcher(snippet); // a comment that says what is printed
        while (expected.find()) {
            assertEquals(expected.group(1), printed.toString().lines().findFirst().orElse(""));
        }
        assertTrue(printed.size() > 0);
    }
}
