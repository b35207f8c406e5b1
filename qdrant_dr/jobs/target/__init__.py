"""A server that is written to: the target of a restore, or a scratch server of a drill."""
