# Sourced by the stages' wrappers. Settings from the environment:
#   DATA_ROOT  data set in VOC layout          (dataset/VOC2012)
#   LOGDIR     where stages write              (smaf/logdir)
#   BACKBONE   resnet38 or a timm model        (resnet38)
#   RECIPE     folder below script/recipes     (light for tf_efficientnet_lite0, none otherwise)
#   DEVICE     auto, cpu, cuda or mps          (auto)
#   CLASSES    file of class names to keep     (all)
#   NPROC      processes, one a GPU            (1)
#   PYTHON     the interpreter                 (.venv's, else python3)
unset CDPATH
ROOT="$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")"
DATA_ROOT="${DATA_ROOT:-$ROOT/dataset/VOC2012}"
LOGDIR="${LOGDIR:-$ROOT/smaf/logdir}"
BACKBONE="${BACKBONE:-resnet38}"
DEVICE="${DEVICE:-auto}"
if [[ -z "${RECIPE:-}" && "$BACKBONE" == tf_efficientnet_lite0 ]]; then RECIPE=light; fi
if [[ -z "${PYTHON:-}" ]]; then
  PYTHON=python3
  if [[ -x "$ROOT/.venv/bin/python" ]]; then
    PYTHON="$ROOT/.venv/bin/python"
  elif ! python3 -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("torch"))' 2>/dev/null; then
    echo "error: python3 lacks this project's packages: bash script/demo.sh makes .venv with them, or name another in PYTHON" >&2
    exit 2
  fi
fi
if ! command -v "$PYTHON" >/dev/null; then
  echo "error: PYTHON is $PYTHON, which cannot be run: name an interpreter, or run script/demo.sh, which makes .venv" >&2
  exit 2
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1 # not what lies in the folder it is called from

stage_command() { # stage_command STAGE OPTION…: sets `command`, with the recipe's options first, so that later ones win
  local stage="$1" computes=1 recipe="$ROOT/script/recipes/${RECIPE:-none}/$1.args"
  shift
  case "$stage" in evaluate | refine_fusion) computes=0 ;; esac # no network in them
  command=("$PYTHON" -m "smaf.$stage")
  if [[ "${NPROC:-1}" != 1 && $computes == 1 && "$stage" != test_seg ]]; then # test_seg has one process for the network
    command=("$PYTHON" -m smaf.launch "$NPROC" "$stage")
  fi
  if [[ -n "${RECIPE:-}" && -f "$recipe" ]]; then command+=("@$recipe"); fi
  command+=(--data_root "$DATA_ROOT")
  if [[ -n "${CLASSES:-}" ]]; then command+=(--classes "$CLASSES"); fi
  if [[ $computes == 1 ]]; then command+=(--device "$DEVICE"); fi
  command+=("$@")
}

run_stage() { # run_stage STAGE OPTION…
  stage_command "$@"
  "${command[@]}"
}

last_stage() { # last_stage STAGE OPTION…: in this process's place, so that signals to the wrapper reach it
  stage_command "$@"
  exec "${command[@]}"
}
