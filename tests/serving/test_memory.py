"""How much memory a server may have."""

from __future__ import annotations

from pathlib import Path

import pytest

from wav2edge.serving import memory

UNIT = "system.slice/captions.service"


@pytest.mark.parametrize(
    ("group", "limit"),
    [
        (f"0::/{UNIT}", f"{UNIT}/memory.max"),
        (f"0::/{UNIT}", "system.slice/memory.max"),
        ("0::/", "memory.max"),
        (f"9:memory:/{UNIT}\n0::/{UNIT}", f"memory/{UNIT}/memory.limit_in_bytes"),
    ],
)
def test_the_limit_of_the_own_control_group_holds(tmp_path: Path, group: str, limit: str) -> None:
    """Only the limit of the topmost group was read: a service with MemoryMax= was killed and refused nothing."""
    for name, text in ((f"sys/fs/cgroup/{limit}", "100000000"), ("proc/self/cgroup", group)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert memory.bound(tmp_path) == 85_000_000
    (tmp_path / "sys/fs/cgroup" / limit).write_text("max\n")
    assert memory.bound(tmp_path) > 85_000_000
