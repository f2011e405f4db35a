"""Transcripts, the formats that they are written in, and language models."""
