#!/usr/bin/env bash
# Stage 4: train a segmentation network on pseudo masks. Settings: common.sh; LIST (train_aug), NETWORK
# (deeplab_v2_resnet101), WEIGHTS (imagenet), TARGET_DIR (stage 3's masks: DATA_ROOT/pseudo_mask/fused).
# The light recipe has a network of its own and starts from stage 2's classifier.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
NETWORK="${NETWORK:-${RECIPE:+${BACKBONE:-}}}" # a recipe's backbone is that of its network, too
last_stage train_seg LOGDIR DEVICE LIST NETWORK WEIGHTS TARGET_DIR -- "$@"
