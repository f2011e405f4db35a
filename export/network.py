"""What export takes apart: a network of transformers, as a type."""

from __future__ import annotations

from typing import Any, TypeAlias

Network: TypeAlias = Any
"""A network of transformers, or one of its modules.

``Any``, because nothing describes it better: each family's class sets its parts under names of its own, and torch types
every part as a tensor or a module, which could be neither called nor multiplied. What is made from it is typed.
"""
