#!/usr/bin/env bash
# Run the tests of LocalAI's backend: those of the dynamic loader, and those of the gRPC service. Arguments are passed to pytest.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
python="${OCTABOX_PYTHON:-$root/.venv/bin/python}"
if ! "$python" -c "import pytest, octabox" 2>/dev/null; then
    echo "The tests need the environment of development. Run 'make test' in $root, or set OCTABOX_PYTHON to an interpreter that has it." >&2
    exit 127
fi
cd "$root"
exec "$python" -m pytest -q "${@:--n0}" tests/compat tests/frontends/grpc tests/config/localai tests/e2e/localai
