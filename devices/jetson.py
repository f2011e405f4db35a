"""What an NVIDIA Jetson says about itself: module, L4T, JetPack, power mode."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .tree import Tree

# Jetson Linux release → JetPack, from NVIDIA's JetPack archive page. L4T 38.2.x is JetPack 7.0.
_JETPACK = {
    "39.2.2": "7.2.2",
    "39.2.1": "7.2.1",
    "39.2.0": "7.2",
    "38.4.0": "7.1",
    "38.2.2": "7.0",
    "38.2.1": "7.0",
    "38.2.0": "7.0",
    "36.5.2": "6.2.3",
    "36.5.0": "6.2.2",
    "36.4.7": "6.2.1",
    "36.4.4": "6.2.1",
    "36.4.3": "6.2",
    "36.4.0": "6.1",
    "36.3.0": "6.0",
}

# The chip in /proc/device-tree/compatible → family and compute capability.
_CHIPS = {"nvidia,tegra264": ("Thor", "11.0"), "nvidia,tegra234": ("Orin", "8.7"), "nvidia,tegra194": ("Xavier", "7.2")}


@dataclass(frozen=True)
class Jetson:
    """A Jetson board. chip: ``Orin``, ``Thor``, ``Xavier``. compute_capability: ``8.7`` is sm_87.

    l4t, jetpack: releases, None where the system does not say or the pair is unknown.
    """

    chip: str
    compute_capability: str
    l4t: str | None = None
    jetpack: str | None = None


def detect(tree: Tree, compatible: tuple[str, ...]) -> Jetson | None:
    """The Jetson that ``compatible`` (the device tree's) and /etc/nv_tegra_release describe; None on other machines."""
    for name, (chip, capability) in _CHIPS.items():
        if name in compatible:
            release = l4t(tree.read("/etc/nv_tegra_release") or "")
            return Jetson(chip, capability, release, _jetpack(release))
    return None


def l4t(text: str) -> str | None:
    """The L4T release in /etc/nv_tegra_release: ``# R36 (release), REVISION: 4.3, …`` is 36.4.3."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{match[1]}.{match[2].rstrip('.')}" if match else None


def power_mode(tree: Tree) -> str | None:
    """The power mode that nvpmodel keeps, such as ``MAXN_SUPER``; None without nvpmodel.

    /var/lib/nvpmodel/status holds ``pmode:0002``; /etc/nvpmodel.conf names the modes, ``< POWER_MODEL ID=2 NAME=… >``,
    and the one of a machine that was never switched, ``< PM_CONFIG DEFAULT=1 >``.
    """
    conf = tree.read("/etc/nvpmodel.conf") or ""
    status = re.search(r"pmode:\s*(\d+)", tree.read("/var/lib/nvpmodel/status") or "")
    status = status or re.search(r"^<\s*PM_CONFIG\s+DEFAULT=(\d+)", conf, re.MULTILINE)
    if status is None:
        return None
    for match in re.finditer(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", conf, re.MULTILINE):
        if int(match[1]) == int(status[1]):
            return match[2]
    return f"mode {int(status[1])}"


def _jetpack(release: str | None) -> str | None:
    if release is None:
        return None
    return _JETPACK.get(release) or _JETPACK.get(f"{release}.0")
