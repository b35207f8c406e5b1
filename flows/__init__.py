"""The runbook: one flow per verb. What is done, in which order, is the library's; see `tasks`."""
