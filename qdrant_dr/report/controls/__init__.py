"""Controls of audit frameworks: what each asks, and what the frames answer."""
