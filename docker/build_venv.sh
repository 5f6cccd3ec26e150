#!/bin/sh
# The image's Python environment: docker/build_venv.sh FOLDER REQUIREMENTS [ONNXRUNTIME]
# Runs while an image is built, and needs what is in it: sh, find, python3 with venv. ONNXRUNTIME is the distribution to
# have in the place of onnxruntime: both are one module, so the other has to go first.
set -eu
folder=$1
requirements=$2
runtime=${3:-}

pip() { "$folder/bin/python" -m pip "$@" --disable-pip-version-check; }

python3 -m venv "$folder"
pip install --no-cache-dir --no-compile -r "$requirements"
if [ -n "$runtime" ]; then
  pip uninstall --yes onnxruntime
  pip install --no-cache-dir --no-compile "$runtime"
fi

# Their tests are megabytes that nothing imports. pip stays: models come in wheels, too (MODEL_MIRRORS), and it is what
# fetches them.
site=$(echo "$folder"/lib/python3.*/site-packages)
for package in numpy scipy; do
  find "$site/$package" -type d -name tests -prune -exec rm -r {} +
done
find "$site" -type d -name __pycache__ -prune -exec rm -r {} +

# Nobody can write bytecode later, where the file system is read-only. unchecked-hash: it is believed whatever times the
# files have, which layers do not always keep. Some packages carry files for other versions of Python; those fail, unused.
"$folder/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$site" >/dev/null || true
