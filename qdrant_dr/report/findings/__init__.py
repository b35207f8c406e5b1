"""Findings, worst first: about collections, the cluster, runs, drills and repositories."""
