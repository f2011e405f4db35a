#!/bin/sh
# The whole recipe in one command, from its own environment: recipes/embedded/run.sh --manifest M --whisper DIR
set -eu
here=$(dirname "$(readlink -f "$0")")
python=${PYTHON:-python3}
[ -x "$here/work/venv/bin/python" ] || "$python" -m venv "$here/work/venv"
"$here/work/venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
exec "$here/work/venv/bin/python" "$here/run.py" --seed 1 "$@"
