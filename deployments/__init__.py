"""Samples and scripts around the flows: the demo, the work pool, the tools of the tests."""
