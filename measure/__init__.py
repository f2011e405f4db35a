"""Measure models on this machine: manifests, error rates, live quality, latency, reports."""
