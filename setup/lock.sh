#!/bin/sh
# Writes the locks anew: requirements.lock, and of it what runs and what builds, from pyproject.toml; jars.sha256 beside each
# pom.xml, tests/peers/{webhooks,provider}/package-lock.json. The locks name no index. Needs a set-up checkout.
set -eu
cd "$(dirname "$0")/.."
UV=uv==0.13.9

[ -x build/uv/bin/uv ] || {
    python3 -m venv build/uv
    build/uv/bin/pip install --quiet --disable-pip-version-check "$UV"
}
compile() {
    build/uv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@"
}
compile pyproject.toml --group dev -o requirements.lock
compile pyproject.toml --constraints requirements.lock -o requirements-run.lock
compile --group pyproject.toml:build --constraints requirements.lock -o requirements-build.lock

# sums POM FILE : into FILE, what the jars are that POM names.
sums() {
    rm -rf build/jars
    mvn -q -B -Dstyle.color=never -f "$1" dependency:copy-dependencies "-DoutputDirectory=$PWD/build/jars"
    (cd build/jars && LC_ALL=C sha256sum -- *.jar) >"$2"
}
sums hub/kafka/pom.xml hub/kafka/jars.sha256
sums tests/peers/fhir/pom.xml tests/peers/fhir/jars.sha256

for peer in webhooks provider; do
    (cd tests/peers/$peer && npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund)
done
