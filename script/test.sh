#!/usr/bin/env bash
# The tests. Options are pytest's; JOBS is the number of processes (2).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/venv.sh"
make_venv test
cd "$ROOT"
exec "$VENV/bin/python" -m pytest -n "${JOBS:-2}" "$@"
