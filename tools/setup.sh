#!/bin/sh
# Bring an environment of this checkout up to date; does nothing, within milliseconds, where it is already.
#
#   tools/setup.sh core      .venv with what running needs            (make demo)
#   tools/setup.sh test      ... and what training and tests need     (make test, make bench)
#   tools/setup.sh lint      ... and the linters                      (make lint)
#   tools/setup.sh parity    .venv-parity, with PyTorch and transformers (make test-parity)
#
# A stamp in the environment holds a checksum of what it was made from and where, and is written last: neither a changed
# lock file, nor a checkout that was moved, nor an interrupted installation is mistaken for a finished one.
set -eu
cd "$(dirname "$0")/.."

level=${1:-}
venv=.venv
case $level in
core) covered_by="core test lint" ;;
test) covered_by="test lint" ;;
lint) covered_by="lint" ;;
parity) covered_by="parity" venv=.venv-parity ;;
*) echo "usage: tools/setup.sh core|test|lint|parity" >&2 && exit 2 ;;
esac

requirements() {
    if [ "$1" = parity ]; then echo requirements/parity.txt; else echo "requirements/$1.lock"; fi
}
fingerprint() {
    { pwd -P && cat "$(requirements "$1")" pyproject.toml; } | cksum
}
is_ready() {
    for each in $covered_by; do
        if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/ready-$each" 2>/dev/null)" = "$(fingerprint "$each")" ]; then
            return 0
        fi
    done
    return 1
}

# One installation at a time. The marker holds the process that works on the environment and outlives only a kill, after
# which nothing in the environment can be trusted, so that it is made afresh (from pip's cache, for the most part).
is_ready && exit 0
if [ ! -w . ]; then
    echo "Cannot write to $(pwd): copy the checkout to a folder of your own and run make there." >&2
    exit 1
fi
marker=$venv.installing
while ! (set -C && echo $$ >"$marker") 2>/dev/null; do
    owner=$(cat "$marker" 2>/dev/null) || continue
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
        rm -rf "$venv" "$marker"
        continue
    fi
    [ -n "${waiting:-}" ] || echo "Waiting for process $owner, which is setting up $venv (if it is not, remove $marker)"
    waiting=yes
    sleep 1
done
log=$(mktemp)
trap 'rm -f "$marker" "$log"' EXIT
trap 'rm -rf "$venv"; exit 130' INT TERM HUP
is_ready && exit 0

quietly() {
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        echo "Setting up $venv failed: see above; the command was: $*" >&2
        exit 1
    }
}

# Parity prefers 3.11, the version of the stored reference outputs; any version that PyTorch supports will do.
if [ "$level" = parity ]; then
    python=$(tools/find_python.sh 3.11 2>/dev/null || tools/find_python.sh)
else
    python=$(tools/find_python.sh)
fi

if [ ! -x "$venv/bin/python" ] || [ "$(cat "$venv/home" 2>/dev/null)" != "$(pwd -P)" ]; then
    echo "Making $venv with $("$python" --version)"
    rm -rf "$venv"
    quietly "$python" -m venv "$venv"
    pwd -P >"$venv/home"
fi

echo "Installing $(requirements "$level") into $venv (a minute or two the first time)"
rm -f "$venv"/ready-*
export PIP_DISABLE_PIP_VERSION_CHECK=1
if [ "$level" = parity ]; then
    quietly "$venv/bin/python" -m pip install -r "$(requirements parity)"
else
    quietly "$venv/bin/python" -m pip install --require-hashes -r "$(requirements "$level")"
    quietly "$venv/bin/python" -m pip install --no-index --no-deps --no-build-isolation --editable .
fi
fingerprint "$level" >"$venv/ready-$level"
