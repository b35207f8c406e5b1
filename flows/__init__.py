"""One flow per verb. The library decides what is done and in which order; see `tasks`."""
