"""Read, rewrite, cut and store ONNX graphs. Shared by export and calibration; onnx, no torch."""
