"""Checkpoint in, verified ONNX bundle out. The only folder that imports torch or transformers."""
