#!/usr/bin/env bash
# The tests; where all of them run, they must cover 90 % of the lines. Options are pytest's; JOBS is the number of processes (2).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/venv.sh"
make_venv test
cd "$ROOT"
coverage=(--cov --cov-report=term --cov-fail-under=90)
for option in "$@"; do # those that leave no test out
  case "$option" in -q | -v | -vv | -s | -x | --durations=* | --tb=*) ;; *) coverage=() ;; esac
done
case "$(version "$VENV/bin/python" sys)" in 3.10 | 3.11) ;; *) export COVERAGE_CORE=sysmon ;; esac # counts at hardly any cost
exec "$VENV/bin/python" -m pytest -n "${JOBS:-2}" ${coverage[@]+"${coverage[@]}"} "$@"
