"""The type of transformers' networks, whose parts the export reads."""

from __future__ import annotations

from typing import Any, TypeAlias

Network: TypeAlias = Any
"""A network of transformers, or one of its modules.

``Any``, because no type describes it: each family's class has other attributes, and torch types every attribute as a
tensor or a module, which could be neither called nor multiplied. What is made from it is typed.
"""
