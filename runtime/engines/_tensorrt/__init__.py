"""TensorRT 10.3 to 11.x and TensorRT for RTX through one code path.

engine.py   what runtime/engines/tensorrt.py and tensorrt_rtx.py offer: a cached plan, or build, prove and keep one
flavor.py   which of the two Python modules, its version, what is missing here
builder.py  ONNX graph to plan, in a process of its own
proof.py    the bundle's own clips on a fresh engine
store.py    plans in the cache: keys, damage, reasons
session.py  a plan in use: contexts, copies, CUDA graphs
buffers.py  device and pinned memory that only grows
cuda.py     the few CUDA calls, through cuda-bindings

Networks are strongly typed: the precision is in the ONNX graph, which is all that TensorRT 11 offers and what 10.3 can
do as well. tests/runtime/engines/test_tensorrt_names.py proves that every name used here exists in each version.
"""
