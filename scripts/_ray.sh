# Sourced by scripts/test: an environment with Ray in .ray (not in git, 900 MB), made once; Ray is too large for .venv.
ray_environment() {
  local wanted
  wanted=$(cat pyproject.toml constraints.txt scripts/_ray.sh | sha256sum)
  if [ ! -e .ray/.installed ] || [ "$(cat .ray/.installed)" != "$wanted" ]; then
    echo "Making the environment with Ray in .ray …"
    [ -x .ray/bin/python ] || "${PYTHON:-python3}" -m venv .ray
    .ray/bin/python -m pip install -q --upgrade "pip>=25.1"
    .ray/bin/python -m pip install -q -c constraints.txt pytest pytest-timeout hypothesis -e ".[cpu,serve,ray]"
    echo "$wanted" >.ray/.installed
  fi
  PATH=$PWD/.ray/bin:$PATH
}
