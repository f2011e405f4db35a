"""Time every engine and variant that this machine runs, in turns against a baseline."""
