"""Which machine is this, what can it run, and which variant suits it."""
