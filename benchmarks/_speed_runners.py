"""One run of a graph in ONNX Runtime, OpenVINO or torch: the engines that quantization_speed.py compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wav2edge.runtime.engines.openvino import adapt


def onnxruntime_runner(path: str, threads: int) -> Callable[[dict[str, Any]], object]:
    """One run of an ONNX file in ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = {item.name for item in session.get_inputs()}
    return lambda feeds: session.run(None, {name: value for name, value in feeds.items() if name in names})


def openvino_compiled(path: str, threads: int) -> Any:
    """An ONNX or OpenVINO file as the engine compiles it."""
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    model = core.read_model(path)
    if "int8" in path:
        adapt(model)
    return core.compile_model(model, "CPU", settings)


def openvino_runner(path: str, threads: int) -> Callable[[dict[str, Any]], object]:
    """One run of a file in OpenVINO."""
    compiled = openvino_compiled(path, threads)
    request = compiled.create_infer_request()
    names = {name for port in compiled.inputs for name in port.names}
    return lambda feeds: request.infer({k: v for k, v in feeds.items() if k in names}, share_inputs=True)


def torch_runner(path: str, threads: int) -> Callable[[dict[str, Any]], object]:
    """One run of transformers' model of base shape, random weights."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    torch.set_num_threads(threads)
    layer = path == "layer"
    config = Wav2Vec2Config(
        vocab_size=32,
        feat_extract_norm="layer" if layer else "group",
        do_stable_layer_norm=layer,
        conv_bias=layer,
    )
    model: torch.nn.Module = Wav2Vec2ForCTC(config)
    model.eval()

    def run(feeds: dict[str, Any]) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(feeds["input_values"]))

    return run


RUNNERS = {"onnxruntime": onnxruntime_runner, "openvino": openvino_runner, "torch": torch_runner}
"""By engine, what gives a function of the inputs that runs the file once."""
