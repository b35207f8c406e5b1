"""`drill`: restore copies somewhere disposable, and measure it."""
