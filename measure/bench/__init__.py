"""Every engine and variant of this machine side by side, in turns against a baseline."""
