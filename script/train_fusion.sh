#!/usr/bin/env bash
# Stage 2: self-training. Settings: common.sh; LIST (train_aug), WEIGHTS (stage 0's classifier),
# CAM_DIR (the fused maps; the refined ones where the recipe refines).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage train_fusion LOGDIR DEVICE LIST WEIGHTS CAM_DIR -- "$@"
