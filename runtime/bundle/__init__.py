"""The bundle: its spec and variants, read with checks, written whole or not at all, and the one that ships embedded."""
