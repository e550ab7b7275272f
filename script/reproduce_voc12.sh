#!/usr/bin/env bash
# The whole published protocol on PASCAL VOC 2012: stages 0 to 4 with ResNet-38 and DeepLab-V2, then the tables.
# Every stage goes on where it stopped when this is run again. Settings: common.sh, and
#   RESNET38    ImageNet weights             (DATA_ROOT/weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.params)
#   COCO_INIT   DeepLab-V2's initialisation  (DATA_ROOT/weights/deeplabv1_resnet101-coco.pth)
#   CRF         1, or 0 to do without        (1)
#   QUICK       1: two steps a stage on the lists' first photographs, to see that all is in place (0)
# About a day on one GPU of 16 GB (not measured); without a GPU it takes weeks, so DEVICE=cpu must be asked for.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/common.sh"
RESNET38="${RESNET38:-$DATA_ROOT/weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.params}"
COCO_INIT="${COCO_INIT:-$DATA_ROOT/weights/deeplabv1_resnet101-coco.pth}"
CRF="${CRF:-1}"
missing=0

need() { # need PATH… WHERE: one of the paths must be there
  local where="${*: -1}" path
  for path in "${@:1:$#-1}"; do
    if [[ -e "$path" ]]; then return; fi
  done
  echo "missing: $1" >&2
  echo "         $where" >&2
  missing=1
}

need "$DATA_ROOT/JPEGImages" "VOCtrainval_11-May-2012.tar, md5 6cd6e144f989b92b3379bac3b3de84fd, from \
https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/; its folder VOCdevkit/VOC2012 is DATA_ROOT"
need "$DATA_ROOT/ImageSets/Segmentation/val.txt" "in the same archive"
need "$DATA_ROOT/ImageSets/Segmentation/train_aug.txt" "run \`smaf prepare $DATA_ROOT\` once SegmentationClassAug is there"
need "$DATA_ROOT/SegmentationClassAug" "10,582 + 1,449 masks with SBD's annotations (SegmentationClassAug.zip, linked by \
DeepLab's and EPS's releases; made of SBD's benchmark.tgz, md5 82b4d87ceb2ed10f6038a1cba92111cb)"
need "$DATA_ROOT"/metadata/*/cls_labels.npy "$DATA_ROOT"/metadata/*/image_labels.csv "$DATA_ROOT/labels.csv" \
  "image-level labels: run \`smaf prepare $DATA_ROOT\`"
need "$DATA_ROOT/SALImages" "saliency maps of train_aug, 0..255: EPS's release links them (SALImages); or any detector's: bash script/saliency.sh"
need "$RESNET38" "ResNet-38's ImageNet weights, linked by EPS's and AffinityNet's releases; no checksum is published"
need "$COCO_INIT" "https://github.com/kazuto1011/deeplab-pytorch/releases/download/v1.0/deeplabv1_resnet101-coco.pth; no \
checksum is published"
if [[ "$DEVICE" == auto ]] && ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "missing: a CUDA device" >&2
  echo "         DEVICE=cpu runs without one (with QUICK=1 in minutes)" >&2
  missing=1
fi
if [[ $missing == 1 ]]; then
  echo "error: nothing was started; put the above in place first" >&2
  exit 2
fi

train=train_aug pseudo=train test=val short=() views=()
if [[ "${QUICK:-0}" == 1 ]]; then
  LOGDIR="$LOGDIR/quick"
  mkdir -p "$LOGDIR"
  for name in train_aug train val; do head -n 4 "$DATA_ROOT/ImageSets/Segmentation/$name.txt" >"$LOGDIR/$name.txt"; done
  train="$LOGDIR/train_aug.txt" pseudo="$LOGDIR/train.txt" test="$LOGDIR/val.txt"
  short=(--steps 2 --batch_size 2 --crop 128 --num_workers 0)
  views=(--long_side 160)
fi
masks="$LOGDIR/pseudo_masks"
refine=() softmax=()
if [[ "$CRF" == 1 ]]; then refine=(--crf masks) softmax=(--crf); fi

run_stage train_eps DEVICE -- --list "$train" --weights "$RESNET38" --out "$LOGDIR/eps_cls_mode" \
  ${short[@]+"${short[@]}"}
run_stage gen_fusion DEVICE -- --list "$train" --weights "$LOGDIR/eps_cls_mode/classifier.pth" \
  --out "$LOGDIR/cam_o_vec" ${views[@]+"${views[@]}"}
run_stage train_fusion DEVICE -- --list "$train" --weights "$LOGDIR/eps_cls_mode/classifier.pth" \
  --cam_dir "$LOGDIR/cam_o_vec" --out "$LOGDIR/proda_model" ${short[@]+"${short[@]}"}
for list in "$pseudo" "$train"; do # the first for the table, the second to train on
  out="$masks/$(basename "$list" .txt)"
  run_stage gen_pm DEVICE -- --list "$list" --weights "$LOGDIR/proda_model/classifier.pth" --out "$out" \
    ${refine[@]+"${refine[@]}"} ${views[@]+"${views[@]}"}
done
run_stage evaluate -- --list "$pseudo" --pred_dir "$masks/$(basename "$pseudo" .txt)"
run_stage train_seg DEVICE -- --list "$train" --weights "$COCO_INIT" \
  --target_dir "$masks/$(basename "$train" .txt)" --out "$LOGDIR/segmenter" ${short[@]+"${short[@]}"}
run_stage test_seg DEVICE -- --list "$test" --weights "$LOGDIR/segmenter/segmenter.pth" \
  --out "$LOGDIR/segmented_val" ${softmax[@]+"${softmax[@]}"} ${views[@]+"${views[@]}"}
