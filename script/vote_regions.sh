#!/usr/bin/env bash
# After stage 3, beyond the paper: masks mended by regions of other photographs. Settings: common.sh;
# LIST (train), OUT (LOGDIR/masks_voted).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage vote_regions LOGDIR DEVICE LIST OUT -- "$@"
