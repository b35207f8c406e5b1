"""Signatures as OpenSSH makes and checks them, so that a stranger needs nothing of ours."""
