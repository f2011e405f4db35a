"""Short names of folders that tell them apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath


def apart(paths: Iterable[str]) -> dict[str, str]:
    """The end of each path, of as few parts as distinguish it from the others: ``a/bundle`` and ``b/bundle``."""
    distinct = dict.fromkeys(paths)
    parts = {path: PurePath(path).parts for path in distinct}
    found = {}
    for path in distinct:
        count = 1
        others = [parts[other] for other in distinct if other != path]
        while count < len(parts[path]) and any(other[-count:] == parts[path][-count:] for other in others):
            count += 1
        found[path] = "/".join(parts[path][-count:]) or path
    return found
