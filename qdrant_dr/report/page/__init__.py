"""The page of a report: what the evidence says, to be printed and signed."""
