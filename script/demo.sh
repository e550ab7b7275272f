#!/usr/bin/env bash
# From rendered photographs and their tags to masks and a network, and demo_report.html. Options are those of `smaf demo`.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/venv.sh"
make_venv
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1 # not what lies in the folder it is called from
if ! compgen -G "$ROOT/smaf/ops/crf/__pycache__/*.nbc" >/dev/null; then "$VENV/bin/python" -m smaf.ops.crf.warm_up; fi # part of the installation
exec "$VENV/bin/python" -m smaf demo "$@"
