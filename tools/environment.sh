#!/bin/sh
# Creates .venv and installs the package into it.
# usage: tools/environment.sh run|dev|fuzz
#   run: what the program needs;  dev: also what the tests need;  fuzz: also what make fuzz needs.
# A stamp in .venv, made from the files that decide what gets installed, makes a second run free.
set -eu

extra=${1:?usage: tools/environment.sh run|dev|fuzz}
venv=.venv

fail() {
    echo "trunkwarden: $*" >&2
    exit 1
}

stamp() {
    { echo "$PWD"; cat pyproject.toml constraints.txt; } | cksum | tr ' ' '-'
}

fresh() {
    [ -f "$venv/.stamp-$1" ] && [ "$(cat "$venv/.stamp-$1")" = "$(stamp)" ] && "$venv/bin/python" -c '' 2>/dev/null
}

# What the tests need includes what the program needs, and so on.
if fresh fuzz || { [ "$extra" != fuzz ] && fresh dev; } || { [ "$extra" = run ] && fresh run; }; then
    exit 0
fi

# The newest Python that is new enough and can make an environment; PYTHON=... overrides the search.
python=
found=
for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        found=$candidate
        if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            python=$candidate
            break
        fi
    fi
done
[ -n "$found" ] || fail "Python 3.11 or newer is missing (Debian, Ubuntu: apt-get install python3 python3-venv; or name one: make PYTHON=/path/to/python3.11)"
[ -n "$python" ] || fail "$found has no venv module (Debian, Ubuntu: apt-get install python3-venv)"

# An environment whose Python has gone, is too old, or was moved with the folder, is made anew.
if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "creating $venv with $("$python" --version)" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "$python could not create $venv (see above)"
fi

target=.
[ "$extra" = dev ] && target='.[dev]'
[ "$extra" = fuzz ] && target='.[dev,fuzz]'
log=$venv/install.log
echo "installing trunkwarden and what it needs ($log)" >&2
if ! "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e "$target" >"$log" 2>&1; then
    tail -n 3 "$log" >&2
    if grep -qiE 'connection|resolve|network|timed out|timeout|proxy|no matching distribution' "$log"; then
        fail "the Python packages could not be installed: no package index answered (check the network, or point pip at your mirror with PIP_INDEX_URL; all of pip's words: $log)"
    fi
    fail "the Python packages could not be installed (all of pip's words: $log)"
fi
if [ "$extra" != run ]; then
    # Peers that not every machine can have: the tests that need a missing one say so.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[peers]' >>"$log" 2>&1 ||
        echo "trunkwarden: some peers of the tests could not be installed (all of pip's words: $log)" >&2
fi
stamp >"$venv/.stamp-$extra"
