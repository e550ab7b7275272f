#!/usr/bin/env bash
# Stage 0: the EPS classifier. Settings: common.sh; LIST (train_aug), WEIGHTS (imagenet, or the file of ResNet-38's).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
arguments=(--backbone "$BACKBONE" --list "${LIST:-train_aug}" --out "$LOGDIR/eps_cls_mode")
if [[ -n "${WEIGHTS:-}" ]]; then arguments+=(--weights "$WEIGHTS"); fi
last_stage train_eps "${arguments[@]}" "$@"
