#!/usr/bin/env bash
# Stage 4: segment a list with the trained network, and its mIoU where there are true masks.
# Settings: common.sh; LIST (val), WEIGHTS (stage 4's network), OUT (LOGDIR/segmented_LIST).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage test_seg LOGDIR DEVICE LIST WEIGHTS OUT -- "$@"
