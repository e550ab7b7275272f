#!/usr/bin/env bash
# Stage 3: pseudo masks, then their mIoU. Settings: common.sh; LIST (train), WEIGHTS (stage 2's
# classifier), OUT (DATA_ROOT/pseudo_mask/fused), EVALUATE (1; 0 where there are no true masks).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
if [[ "${EVALUATE:-1}" == 1 ]]; then set -- --evaluate "$@"; fi
last_stage gen_pm LOGDIR DEVICE LIST WEIGHTS OUT -- "$@"
