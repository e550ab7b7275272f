#!/usr/bin/env bash
# Between stages 1 and 2, beyond the paper: fused maps refined by edges and saliency. Settings:
# common.sh; LIST (train_aug).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage refine_fusion LOGDIR LIST -- "$@"
