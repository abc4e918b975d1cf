#!/usr/bin/env bash
# Find a Python that can build and run finesieve, and print its path.
# What is missing is said on stderr, with the command that installs it on this distribution.
set -euo pipefail

suits() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

python=""
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
    if suits "$candidate"; then python=$(command -v "$candidate") && break; fi
done

missing=()
if [[ -z "$python" ]]; then
    missing+=("Python 3.11 or newer${PYTHON:+ (PYTHON=$PYTHON is not)}")
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=("Python's venv module")
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    [[ -f "$headers/Python.h" ]] || missing+=("Python's headers ($headers/Python.h)")
fi
command -v g++ >/dev/null || missing+=("g++ (the graph is compiled on this machine)")

if ((${#missing[@]})); then
    {
        echo "finesieve cannot be set up here. Missing:"
        printf '  - %s\n' "${missing[@]}"
        case "$(. /etc/os-release 2>/dev/null && echo "$ID ${ID_LIKE:-}")" in
            *debian* | *ubuntu*) echo "Install with: sudo apt-get install g++ make python3-dev python3-venv" ;;
            *fedora* | *rhel*) echo "Install with: sudo dnf install gcc-c++ make python3-devel" ;;
            *suse*) echo "Install with: sudo zypper install gcc-c++ make python311-devel" ;;
            *arch*) echo "Install with: sudo pacman -S base-devel python" ;;
            *alpine*) echo "Install with: apk add g++ make python3-dev" ;;
            *) [[ "$(uname)" == Darwin ]] && echo "Install with: xcode-select --install; brew install python@3.11" ;;
        esac
        echo "Another interpreter can be named: make setup PYTHON=/path/to/python3.11"
    } >&2
    exit 1
fi
echo "$python"
