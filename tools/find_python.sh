#!/bin/sh
# Print a Python >= 3.12 that can make virtual environments, or say how to get one.
set -u

usable() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null
}

candidates() {
    [ -n "${PYTHON:-}" ] && echo "$PYTHON"
    for version in 3.13 3.12; do
        command -v "python$version"
        for top in "${PYENV_ROOT:-$HOME/.pyenv}/versions" "$HOME/.local/share/uv/python"; do
            ls -d "$top"/*"$version".*/bin/python3 2>/dev/null | sort -rV
        done
        for top in /usr/local/bin /opt/homebrew/bin /opt/local/bin /usr/bin; do
            echo "$top/python$version"
        done
    done
    command -v python3
    command -v python
    for top in "${CONDA_PREFIX:-}" "$HOME/miniconda3" "$HOME/miniforge3" "$HOME/anaconda3" /opt/conda; do
        [ -n "$top" ] && ls -d "$top/bin/python3" "$top"/envs/*/bin/python3 2>/dev/null
    done
}

candidates | {
    while IFS= read -r candidate; do
        if usable "$candidate"; then
            echo "$candidate"
            exit 0
        fi
    done
    cat >&2 <<'MESSAGE'
No usable Python was found: meas_cosmicrays needs Python 3.12 or later, with the venv module.
Install one, for example
    Debian, Ubuntu:   apt install python3.13-venv     (or python3.12-venv)
    Fedora:           dnf install python3.13
    macOS:            brew install python@3.13
    pyenv:            pyenv install 3.13
    conda:            conda create -n py313 python=3.13
or, if it is somewhere unusual, say where:  make PYTHON=/path/to/python3.13 demo
MESSAGE
    exit 1
}
