"""ONNX graphs of the contract: storing them with their weights beside them, and cutting them into stages."""
