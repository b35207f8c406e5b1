"""From units to outcomes: which function does which unit, again after a loss, side by side."""
