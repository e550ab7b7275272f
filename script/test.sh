#!/usr/bin/env bash
# Style, types and tests. Options are pytest's.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
make_venv test
cd "$ROOT"
"$VENV/bin/python" -m ruff check smaf tests
"$VENV/bin/python" -m mypy
exec "$VENV/bin/python" -m pytest -n "${JOBS:-2}" "$@"
