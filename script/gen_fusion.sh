#!/usr/bin/env bash
# Stage 1: fused maps. Settings: common.sh; LIST (train_aug), WEIGHTS (stage 0's classifier).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage gen_fusion LOGDIR DEVICE LIST WEIGHTS -- "$@"
