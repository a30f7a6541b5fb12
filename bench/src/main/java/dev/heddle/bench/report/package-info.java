/** What was measured, for people: one HTML page with plots, and the table of the project's README: {@code heddle bench report}. */
package dev.heddle.bench.report;
