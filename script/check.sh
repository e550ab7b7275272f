#!/usr/bin/env bash
# Style and types, for who changes the code: ruff and mypy in pinned releases, in an environment of
# their own, .venv-check. --fix formats the code first.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
here="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"
VENV="${CHECK_VENV:-$(dirname "$here")/.venv-check}"
source "$here/venv.sh"
open_venv
install "$VENV/.smaf-installed" --no-deps -r "$ROOT/requirements-check.txt"
cd "$ROOT"
places=(smaf tests benchmarks script images docs conftest.py)
ruff() { "$VENV/bin/python" -m ruff "$@" "${places[@]}"; }
if [[ "${1:-}" == --fix ]]; then
  ruff check --quiet --fix-only
  ruff format
else
  ruff format --check
fi
ruff check
"$VENV/bin/python" -m mypy
