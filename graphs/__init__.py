"""ONNX graphs as data: read, rewritten, cut into stages, stored. Shared by export and calibration; onnx, no torch."""
