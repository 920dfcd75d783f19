#!/bin/sh
# Writes the locks anew: requirements.lock and requirements-run.lock from pyproject.toml, hub/kafka/jars.sha256 from
# hub/kafka/pom.xml. The locks name no index. Needs a set-up checkout.
set -eu
cd "$(dirname "$0")/.."
UV=uv==0.13.9

[ -x build/uv/bin/uv ] || {
    python3 -m venv build/uv
    build/uv/bin/pip install --quiet --disable-pip-version-check "$UV"
}
compile() {
    build/uv/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --quiet \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$@"
}
compile --group dev -o requirements.lock
compile --group build --constraints requirements.lock -o requirements-run.lock

rm -rf build/jars
mvn -q -B -Dstyle.color=never -f hub/kafka/pom.xml dependency:copy-dependencies "-DoutputDirectory=$PWD/build/jars"
(cd build/jars && LC_ALL=C sha256sum -- *.jar) >hub/kafka/jars.sha256
