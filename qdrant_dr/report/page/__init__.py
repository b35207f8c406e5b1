"""The HTML page of a report, to be printed and signed."""
