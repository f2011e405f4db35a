"""Every name that we call must exist in TensorRT 10.3, 10.16, 11.4 and in TensorRT for RTX.

The real Python bindings of each version (1.3 MB wheels) import against stub shared objects, with no TensorRT on the
machine. That proves names and nothing else; what the calls do is for tests/gpu.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[3] / "runtime" / "engines" / "_tensorrt"

MODULE = (
    *("Builder", "OnnxParser", "Runtime", "Logger", "ILogger", "IProgressMonitor", "nptype"),
    *("BuilderFlag", "NetworkDefinitionCreationFlag", "ExecutionContextAllocationStrategy", "TensorIOMode"),
)
"""Names of the module that we use; test_the_lists_are_complete holds them against the source."""

MEMBERS = {
    "Logger": ("ERROR",),
    "ILogger": ("Severity", "log"),
    "BuilderFlag": ("TF32",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "ExecutionContextAllocationStrategy": ("ON_PROFILE_CHANGE",),
    "TensorIOMode": ("INPUT", "OUTPUT"),
    "IProgressMonitor": ("phase_start", "phase_finish", "step_complete"),
    "Builder": (
        "create_network",
        "create_builder_config",
        "create_optimization_profile",
        "build_serialized_network",
    ),
    "INetworkDefinition": ("num_inputs", "get_input", "num_outputs", "get_output"),
    "ITensor": ("name", "shape", "is_shape_tensor"),
    "IBuilderConfig": (
        "clear_flag",
        "add_optimization_profile",
        "progress_monitor",
        "create_timing_cache",
        "set_timing_cache",
    ),
    "ITimingCache": ("serialize",),
    "IOptimizationProfile": ("set_shape",),
    "OnnxParser": ("parse_from_file", "num_errors", "get_error"),
    "ParserError": ("node_name", "node_operator", "desc"),
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": (
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
        "get_tensor_shape",
        "create_execution_context",
    ),
    "IExecutionContext": (
        "set_optimization_profile_async",
        "set_input_shape",
        "infer_shapes",
        "get_tensor_shape",
        "get_tensor_address",
        "set_tensor_address",
        "execute_async_v3",
    ),
}
RTX_ONLY = {"IExecutionContext": ("is_stream_capturable",)}

VERSIONS = (
    ("tensorrt_cu12_bindings", "10.3.0", 10),
    ("tensorrt_cu13_bindings", "10.16.1.11", 10),
    ("tensorrt_cu13_bindings", "11.4.0.106", 11),
)

LOOK = """
import importlib, json, sys
trt = importlib.import_module(sys.argv[1])
names, members = json.loads(sys.argv[2])
missing = [name for name in names if not hasattr(trt, name)]
for kind, attributes in members.items():
    missing += [f"{kind}.{name}" for name in attributes if not hasattr(getattr(trt, kind, None), name)]
print(json.dumps([trt.__version__, missing]))
"""


def test_the_lists_are_complete() -> None:
    """Whatever follows ``trt.`` in the source is in the list, and every member in the list is used in the source."""
    text = "\n".join(path.read_text() for path in SOURCES.glob("*.py"))
    used, attributes = set(), set()
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                attributes.add(node.attr)
                owner = node.value
                named = isinstance(owner, ast.Name) and owner.id == "trt"
                if named or (isinstance(owner, ast.Attribute) and owner.attr == "_trt"):
                    used.add(node.attr)
    assert used == set(MODULE)
    assert [n for names in MEMBERS.values() for n in names if n not in attributes and f"def {n}(" not in text] == []
    assert '"is_stream_capturable"' in text


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason='needs `pip install "wav2edge[rtx]"` (x86-64, aarch64)'
)
def test_tensorrt_for_rtx_has_every_name() -> None:
    members = {kind: (*MEMBERS.get(kind, ()), *RTX_ONLY.get(kind, ())) for kind in {**MEMBERS, **RTX_ONLY}}
    _, missing = _look("tensorrt_rtx", members)
    assert missing == []


@pytest.mark.slow
@pytest.mark.parametrize(("package", "version", "major"), VERSIONS, ids=[version for _, version, _ in VERSIONS])
def test_tensorrt_has_every_name(tmp_path: Path, package: str, version: str, major: int) -> None:
    for tool in ("gcc", "nm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: `apt-get install gcc binutils`")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--dest", str(tmp_path), f"{package}=={version}"]
    download = subprocess.run(command, capture_output=True, text=True)
    if download.returncode:
        lines = download.stderr.strip().splitlines() or ["no reason given"]
        pytest.skip(f"{package} {version} cannot be downloaded for Python {python}: {lines[-1]}")
    (wheel,) = tmp_path.glob("*.whl")
    folder = _with_stubs(wheel, major, tmp_path / "bindings")
    found, missing = _look("tensorrt_bindings", MEMBERS, folder)
    assert found == version
    assert missing == []


def _look(module: str, members: dict[str, tuple[str, ...]], folder: Path | None = None) -> tuple[str, list[str]]:
    arguments = [sys.executable, "-c", LOOK, module, json.dumps([MODULE, members])]
    environment = {"PYTHONPATH": str(folder)} if folder else None
    result = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    version, missing = json.loads(result.stdout.strip().splitlines()[-1])
    return version, missing


def _with_stubs(wheel: Path, major: int, folder: Path) -> Path:
    """The unpacked wheel beside shared objects that define the symbols its extension module wants, as traps."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    package = folder / "tensorrt_bindings"
    (extension,) = package.glob("tensorrt*.so")
    symbols = subprocess.run(
        ["nm", "-D", "--undefined-only", str(extension)], capture_output=True, text=True, check=True
    )
    wanted = {line.split()[1] for line in symbols.stdout.splitlines() if line.split()[0] == "U"}
    ours = sorted(n for n in wanted if "@" not in n and not n.startswith(("Py", "_Py", "__cxa", "_ITM", "__gmon")))
    traps = "".join(f".globl {name}\n.type {name},@function\n{name}: ud2\n" for name in ours)
    for library, code in (("nvinfer", traps), ("nvinfer_plugin", ""), ("nvonnxparser", "")):
        source = folder / f"{library}.s"
        source.write_text(f".text\n{code}")
        name = f"lib{library}.so.{major}"
        command = ["gcc", "-shared", "-nostdlib", "-o", str(package / name), f"-Wl,-soname,{name}", str(source)]
        subprocess.run(command, check=True)
    return folder
