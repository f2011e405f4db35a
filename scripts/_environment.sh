# Sourced by the other scripts: an environment in .venv with the tested versions. Arguments: extras of the project.
# It is made once, and again when pyproject.toml, constraints.txt or the extras asked for change.
DEVELOPMENT=cpu,openvino,rtx,export,calibrate,eval,report,mic,lm,media,trust,serve,zeroconf

environment() {
  local extras=$1 stamp wanted
  wanted=$(cat pyproject.toml constraints.txt scripts/_environment.sh | sha256sum)
  stamp=.venv/.installed-$(echo "$extras" | tr -c 'a-z\n' _)
  if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    empty_environment
    .venv/bin/python -m pip install -q --upgrade "pip>=25.1"
    announce_torch
    echo "Installing wav2edge[$extras] …"
    .venv/bin/python -m pip install -q -c constraints.txt --group test --group check --group docs -e ".[$extras]"
    echo "$wanted" >"$stamp"
  fi
  PATH=$PWD/.venv/bin:$PATH
}

empty_environment() {
  [ -x .venv/bin/python ] || { echo "Making the environment in .venv …"; "${PYTHON:-python3}" -m venv .venv; }
  .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed for export and the tests (a device may run 3.10); set PYTHON=…" >&2; exit 2; }
}

# The same from a file of versions and digests: a package whose file has another digest is refused.
# torch is installed by its version alone, because its builds have one version and other files; one that is there stays.
locked_environment() {
  local file=$1 stamp=.venv/.installed-locked wanted
  wanted=$(cat "$file" constraints.txt scripts/_environment.sh | sha256sum)
  if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    empty_environment
    echo "Installing the packages of $file …"
    .venv/bin/python -m pip install -q --require-hashes --no-deps -r "$file"
    announce_torch
    .venv/bin/python -m pip install -q -c constraints.txt torch
    .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
    echo "$wanted" >"$stamp"
  fi
  PATH=$PWD/.venv/bin:$PATH
}

# torch's default build on Linux brings several gigabytes of CUDA libraries: say so before, and how to avoid it.
announce_torch() {
  .venv/bin/python -c 'import torch' 2>/dev/null && return
  .venv/bin/python -m pip install -q --dry-run --report .venv/torch.json -c constraints.txt torch >/dev/null 2>&1 || return 0
  grep -q '"name": "nvidia-' .venv/torch.json || return 0
  cat >&2 <<'NOTE'
torch's build for this platform brings several gigabytes of CUDA libraries, which wav2edge does not need.
The CPU build instead:  .venv/bin/pip install uv && .venv/bin/uv pip install -c constraints.txt torch --torch-backend=cpu
Going on with the large one in 10 seconds; Ctrl-C to stop.
NOTE
  sleep 10
}
