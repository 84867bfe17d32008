#!/usr/bin/env bash
# venv.sh FOLDER LOCK: an environment with exactly what LOCK says, and Tocsin itself from this checkout.
# Does nothing where FOLDER was made from the same locks, by the same Python.
set -euo pipefail
folder=$1 lock=$2 python=${PYTHON:-python3}
cd "$(dirname "$0")/.."

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "Tocsin needs Python 3.11 or later, found '$("$python" --version 2>&1 || true)': install it, or say make PYTHON=/path/to/python" >&2
  exit 1
fi
version=$("$python" -c 'import platform; print(platform.python_version())')
stamp=$(cat "$lock" requirements/build.txt "$0" <(echo "$version $PWD") | sha256sum | cut -d' ' -f1)
if [[ -f $folder/bin/.ready && $(<"$folder/bin/.ready") == "$stamp" ]]; then
  touch "$folder/bin/.ready"
  exit 0
fi

echo "Setting up $folder from $lock with Python $version (the first time downloads; later it is instant)"
rm -rf "$folder"
"$python" -m venv "$folder"
# --no-deps: the locks are complete, and hashes leave nothing else in.
"$folder/bin/python" -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/build.txt
tools=("$folder/bin/uv" pip)
if ! "$folder/bin/uv" --version >/dev/null 2>&1; then
  echo "uv does not run here: pip does the same, slower" >&2
  tools=("$folder/bin/python" -m pip)
fi
export VIRTUAL_ENV=$PWD/$folder
"${tools[@]}" install -q --no-deps --require-hashes -r "$lock"
"${tools[@]}" install -q --no-deps --no-build-isolation -e .
echo "$stamp" >"$folder/bin/.ready"
