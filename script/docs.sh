#!/usr/bin/env bash
# The documentation, docs/_build/html: Sphinx in pinned releases, in an environment of its own, .venv-docs.
# Warnings, such as links that lead nowhere, are errors. --links also asks the web for external links.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0" >&2; exit 2; }
set -euo pipefail
here="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"
VENV="${DOCS_VENV:-$(dirname "$here")/.venv-docs}"
source "$here/venv.sh"
open_venv
install "$VENV/.smaf-installed" --no-deps -r "$ROOT/requirements-docs-pinned.txt"
builder=html
if [[ "${1:-}" == --links ]]; then builder=linkcheck; fi
"$VENV/bin/python" -m sphinx -W --keep-going -q -b "$builder" "$ROOT/docs" "$ROOT/docs/_build/$builder"
echo "wrote docs/_build/$builder"
