# Sourced by the stages' wrappers. Settings from the environment:
#   DATA_ROOT  data set in VOC layout            (dataset/VOC2012)
#   LOGDIR     where stages write                (smaf/logdir)
#   RECIPE     options by name: smaf/recipes     (light for tf_efficientnet_lite0, none otherwise)
#   BACKBONE   resnet38 or a timm model          (the recipe's, or resnet38)
#   DEVICE     auto, cpu, cuda or mps            (auto)
#   CLASSES    file of class names to keep       (all)
#   NPROC      processes, one a GPU              (1)
#   TORCHRUN   instead of NPROC, for many machines, each with the same command: options of PyTorch's launcher, such
#              as --nnodes 2 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500
#   PYTHON     the interpreter                   (.venv's, else python3)
unset CDPATH
ROOT="$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")"
DATA_ROOT="${DATA_ROOT:-$ROOT/dataset/VOC2012}"
LOGDIR="${LOGDIR:-$ROOT/smaf/logdir}"
DEVICE="${DEVICE:-auto}"
if [[ "${BACKBONE:-}" == tf_efficientnet_lite0 ]]; then RECIPE="${RECIPE:-light}"; fi
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
if [[ -n "${TORCHRUN:-}" && "${NPROC:-1}" != 1 ]]; then
  echo "error: NPROC is $NPROC and TORCHRUN is $TORCHRUN: TORCHRUN's --nproc_per_node takes NPROC's place, leave one of them out" >&2
  exit 2
fi
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONSAFEPATH=1 # not what lies in the folder it is called from

stage_command() { # stage_command STAGE SETTING… -- OPTION…: sets `command`; LIST is given as --list "$LIST", where it is set
  local stage="$1" name settings=(RECIPE DATA_ROOT CLASSES) processes="${TORCHRUN:-${NPROC:-1}}"
  shift
  while [[ "$1" != -- ]]; do settings+=("$1"); shift; done
  shift
  command=("$PYTHON" -m "smaf.$stage")
  if [[ "$processes" != 1 ]]; then command=("$PYTHON" -m smaf.launch "$processes" "$stage"); fi
  for name in "${settings[@]}"; do
    if [[ -n "${!name:-}" ]]; then command+=("--$(tr '[:upper:]' '[:lower:]' <<<"$name")" "${!name}"); fi
  done
  command+=("$@")
}

run_stage() { # run_stage STAGE SETTING… -- OPTION…
  stage_command "$@"
  "${command[@]}"
}

last_stage() { # last_stage STAGE SETTING… -- OPTION…: in this process's place, so that signals to the wrapper reach it
  stage_command "$@"
  exec "${command[@]}"
}
