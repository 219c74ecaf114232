#!/bin/sh
# Print the path of a Python that can run Polyturn: CPython 3.12 to 3.14 (what JAX supports) with a working venv module.
#
#   tools/find_python.sh          $PYTHON if it is set, else the first that fits
#   tools/find_python.sh 3.11     one of exactly that version; $PYTHON is not asked
#
# A name on PATH may be a version manager's shim that refuses to run, so each candidate is run before it is believed,
# and after PATH come the folders where version managers keep the real ones. 3.12 goes first: it is the version that
# Polyturn is developed on.
set -u

versions=${1:-3.12 3.13 3.14}
wanted=${1:-3.12, 3.13 or 3.14}
home=${HOME:-/nonexistent}
data=${XDG_DATA_HOME:-$home/.local/share}

# Print what the candidate $1 calls itself and end, if it fits. A shim prints the path of the Python behind it.
try() {
    [ -x "$1" ] && [ ! -d "$1" ] || return 0
    found=$("$1" -c '
import sys, sysconfig, venv, ensurepip
fits = "%d.%d" % sys.version_info[:2] in sys.argv[1].split() and sys.implementation.name == "cpython"
if fits and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    print(sys.executable)
' "$versions" 2>/dev/null </dev/null) || return 0
    [ -n "$found" ] || return 0
    printf '%s\n' "$found"
    exit 0
}

# Try python3.12 and so on in each of the folders given.
search() {
    for version in $versions; do
        for folder; do
            try "$folder/python$version"
        done
    done
}

if [ $# -eq 0 ] && [ -n "${PYTHON:-}" ]; then
    try "$(command -v -- "$PYTHON" || printf '%s' "$PYTHON")"
    echo "PYTHON=$PYTHON is no Python 3.12 to 3.14 with a working venv module: set it to one, or unset it." >&2
    exit 1
fi

IFS=:
set -f
# shellcheck disable=SC2086  # split at the colons, on purpose
set -- ${PATH:-}
set +f
unset IFS
search "$@"
for folder; do
    try "$folder/python3"
    try "$folder/python"
done

search \
    "${PYENV_ROOT:-$home/.pyenv}"/versions/*/bin \
    "${ASDF_DATA_DIR:-$home/.asdf}"/installs/python/*/bin \
    "${MISE_DATA_DIR:-$data/mise}"/installs/python/*/bin \
    "$data"/rtx/installs/python/*/bin \
    "${UV_PYTHON_INSTALL_DIR:-$data/uv/python}"/*/bin \
    "$home"/miniconda3/bin "$home"/anaconda3/bin "$home"/mambaforge/bin "$home"/miniforge3/bin \
    /opt/homebrew/opt/python@3.*/bin /usr/local/opt/python@3.*/bin \
    /Library/Frameworks/Python.framework/Versions/3.*/bin \
    /usr/local/bin /usr/bin /opt/python*/bin /opt/conda/bin

echo "No Python $wanted with a working venv module was found: install one (Debian 13, Ubuntu 24.04 or newer:" \
    "sudo apt-get install python3-venv; macOS: brew install python@3.12; anywhere: uv python install 3.12) or set" \
    "PYTHON to where it is, then try again." >&2
exit 1
