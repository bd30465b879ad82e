"""The views of a report: terminal, Markdown, HTML."""
