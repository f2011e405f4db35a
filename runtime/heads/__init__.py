"""Heads: from a model's outputs to results. A file in this folder is a head; each has an ``Options`` dataclass.

The torch modules that compute the outputs are in ``export/heads.py``; docs/how-to/add-a-head.md lists the steps.
"""
