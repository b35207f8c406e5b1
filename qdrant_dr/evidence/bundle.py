"""One archive for an auditor."""
