#!/bin/sh
# Make the environment from the lock alone. Needs Python 3.11 or newer; on Debian as root the venv module is added.
set -eu
venv=$1
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  for candidate in python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1; then python=$candidate; break; fi
  done
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "weftline: found $("$python" --version 2>&1), expected Python 3.11 or newer; install it and run again with PYTHON=python3.11" >&2
  exit 2
}
if [ ! -x "$venv/bin/python" ]; then
  if ! "$python" -m venv "$venv" 2>/dev/null; then
    rm -rf "$venv"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
      apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
      "$python" -m venv "$venv"
    else
      echo "weftline: the venv module is missing; install python3-venv and run again" >&2
      exit 2
    fi
  fi
fi
echo "weftline: installing the locked packages into $venv" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/uv.lock
"$venv/bin/uv" pip sync --quiet --require-hashes --python "$venv/bin/python" requirements/dev.lock
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
