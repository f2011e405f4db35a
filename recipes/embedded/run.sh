#!/bin/sh
# The whole recipe in one command, in an environment of its own: recipes/embedded/run.sh --manifest M --whisper DIR
set -eu
here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
python=${PYTHON:-python3}
[ -x "$here/work/venv/bin/python" ] || "$python" -m venv "$here/work/venv"
"$here/work/venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt" "$root[eval,export,calibrate]"
PYTHONPATH=$root exec "$here/work/venv/bin/python" -m recipes.embedded --seed 1 "$@"
