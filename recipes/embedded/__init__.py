"""How the embedded checkpoint is trained: speech, teacher, student and report, each a folder of commands.

`python -m recipes.embedded` runs all of it; every module with a `main` is also a command of its own.
"""
