// One HTML file that needs no other: text is escaped, pictures are part of it, there are no scripts and no links.
package dev.heddle.bench.report;

import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Written from top to bottom. */
final class Page {
    private static final String STYLE = """
            body { font-family: sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222; }
            table { border-collapse: collapse; margin: 1em 0; font-size: 90%; }
            th, td { border: 1px solid #ccc; padding: 0.2em 0.6em; text-align: right; }
            th:first-child, td:first-child { text-align: left; }
            th { background: #f3f3f3; }
            img { max-width: 100%; margin: 0.5em 0; }
            """;

    private final StringBuilder html = new StringBuilder();
    private final Map<String, byte[]> figures = new LinkedHashMap<>();

    Page(String title) {
        html.append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>").append(escape(title))
                .append("</title>\n<style>\n").append(STYLE).append("</style>\n</head>\n<body>\n<h1>").append(escape(title)).append("</h1>\n");
    }

    /** Text as HTML shows it, in elements and in quoted attributes. */
    static String escape(String text) {
        StringBuilder escaped = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '&' -> escaped.append("&amp;");
                case '<' -> escaped.append("&lt;");
                case '>' -> escaped.append("&gt;");
                case '"' -> escaped.append("&quot;");
                case '\'' -> escaped.append("&#39;");
                default -> escaped.append(c < ' ' && c != '\n' && c != '\t' ? '\uFFFD' : c); // HTML has no control characters
            }
        }
        return escaped.toString();
    }

    void heading(String text) {
        html.append("<h2>").append(escape(text)).append("</h2>\n");
    }

    void paragraph(String text) {
        html.append("<p>").append(escape(text)).append("</p>\n");
    }

    /** A table; the cells of the first column are names. */
    void table(List<String> header, List<List<String>> rows) {
        html.append("<table>\n");
        if (!header.isEmpty()) {
            row("th", header);
        }
        rows.forEach(row -> row("td", row));
        html.append("</table>\n");
    }

    private void row(String cell, List<String> texts) {
        html.append("<tr>");
        texts.forEach(text -> html.append('<').append(cell).append('>').append(escape(text)).append("</").append(cell).append('>'));
        html.append("</tr>\n");
    }

    /** A picture, which is also to become the file {@code name}. */
    void figure(String name, String alternative, byte[] png) {
        figures.put(figures.containsKey(name) ? figures.size() + "-" + name : name, png); // two folders may have files of one name
        html.append("<img alt=\"").append(escape(alternative)).append("\" src=\"data:image/png;base64,")
                .append(Base64.getEncoder().encodeToString(png)).append("\"/>\n");
    }

    /** The pictures by name. */
    Map<String, byte[]> figures() {
        return figures;
    }

    /** The whole page. */
    String html() {
        return html + "</body>\n</html>\n";
    }
}
