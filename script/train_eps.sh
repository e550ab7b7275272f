#!/usr/bin/env bash
# Stage 0: the EPS classifier. Settings: common.sh; LIST (train_aug), WEIGHTS (imagenet, or the file of
# ResNet-38's).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
last_stage train_eps LOGDIR DEVICE BACKBONE LIST WEIGHTS -- "$@"
