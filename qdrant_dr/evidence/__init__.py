"""Checking the evidence of a repository as a stranger would: from its files, and a public key.

`verify` reads a ledger through a `Reader` and asks the pure checks beside it. Nothing here needs a
configuration, and nothing is written.
"""
