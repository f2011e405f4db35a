"""Bundle and speech in, INT8 and FP16 variants out. Needs onnx and onnxruntime, never torch."""
