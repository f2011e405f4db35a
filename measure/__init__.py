"""What a model is worth on this machine: manifests, error rates, live quality, latency, reports."""
