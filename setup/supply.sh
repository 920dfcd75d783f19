#!/bin/sh
# supply.sh sbom : writes build/sbom.json, a CycloneDX bill of what the hub runs on, from requirements-run.lock.
# supply.sh audit : looks the locked packages up among known vulnerabilities; says so where it cannot reach them.
# Both tools live in an environment of their own, so that nothing of theirs is a part of the hub. Status: 0 done or
# skipped, 1 a vulnerability is known, 2 called wrongly.
set -eu
cd "$(dirname "$0")/.."
TOOLS="cyclonedx-bom==7.5.0 pip-audit==2.10.1"

tools() {
    [ -x build/supply/bin/cyclonedx-py ] && [ -x build/supply/bin/pip-audit ] && return
    python3 -m venv build/supply
    # shellcheck disable=SC2086  # two words on purpose
    build/supply/bin/pip install --quiet --disable-pip-version-check $TOOLS
}

case ${1:-} in
sbom)
    tools
    build/supply/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --mc-type application \
        --output-reproducible --of JSON -o build/sbom.json requirements-run.lock
    echo "sbom: build/sbom.json"
    ;;
audit)
    tools
    set +e
    build/supply/bin/pip-audit --requirement requirements-run.lock --require-hashes --disable-pip \
        --progress-spinner off >build/audit.txt 2>&1
    status=$?
    set -e
    grep -v "could not be audited" build/audit.txt || true
    unknown=$(grep -c "could not be audited" build/audit.txt) || unknown=0
    [ "$unknown" -eq 0 ] || echo "audit: SKIPPED for $unknown packages: nothing is known of them where this machine may ask" >&2
    if [ $status -ne 0 ] && ! grep -q "known vulnerabilit" build/audit.txt; then
        echo "audit: SKIPPED, the data of known vulnerabilities cannot be reached from here; nothing was looked up" >&2
        exit 0
    fi
    exit $status
    ;;
*)
    echo "usage: setup/supply.sh sbom | audit" >&2
    exit 2
    ;;
esac
