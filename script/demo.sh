#!/usr/bin/env bash
# All stages on a small rendered data set, and demo_report.html. Options are those of `smaf demo`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/venv.sh"
make_venv
exec "$VENV/bin/python" -m smaf.demo "$@"
