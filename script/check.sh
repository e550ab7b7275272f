#!/usr/bin/env bash
# Style and types, for who changes the code: ruff and mypy in pinned releases, in an environment of their own, .venv-check.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
here="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"
VENV="${CHECK_VENV:-$(dirname "$here")/.venv-check}"
source "$here/venv.sh"
open_venv
install "$VENV/.smaf-installed" --no-deps -r "$ROOT/requirements-check.txt"
cd "$ROOT"
"$VENV/bin/python" -m ruff check smaf tests benchmarks script
"$VENV/bin/python" -m mypy
