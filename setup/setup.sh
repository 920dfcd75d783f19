#!/bin/sh
# Makes this checkout ready: setup/setup.sh run|test|bench
#
# run    .venv with `hub` in it, and the embedded broker's jars in .jars/
# test   besides, what the tests need: Chromium, a PostgreSQL server
# bench  besides, a Java compiler for the peers that the benchmarks compare with
#
# What the system lacks is installed with apt when root; else the command to run is printed. What is done already is
# left as it is: stamps hold the hash of what each step was made from.
set -eu
cd "$(dirname "$0")/.."
level=${1:-run}
case $level in run | test | bench) ;; *)
    echo "usage: $0 run|test|bench" >&2
    exit 2
    ;;
esac

say() { echo "setup: $*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

# The newest python3 that can make virtual environments; PYTHON names another one.
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if has "$candidate" && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

java_is_new_enough() {
    major=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) || return 1
    [ "${major:-0}" -ge 17 ]
}

missing_packages() {
    [ -n "$(find_python)" ] || echo python3 python3-venv
    java_is_new_enough || echo default-jre-headless
    has mvn || echo maven
    [ "$level" = run ] && return
    has chromium || has chromium-browser || echo chromium fonts-liberation
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || has initdb || echo postgresql
    [ "$level" = test ] && return
    has javac || echo default-jdk-headless
}

install_missing() {
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if ! has apt-get; then
        say "this system lacks what these Debian packages hold; install its own kind of them: $missing"
        exit 1
    elif [ "$(id -u)" != 0 ]; then
        say "this system lacks packages. Run this, and then the same command again:"
        echo "  sudo apt-get update && sudo apt-get install -y $missing" >&2
        exit 1
    fi
    say "installing $missing"
    apt-get update -q >&2
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >&2
    missing=$(missing_packages | tr '\n' ' ')
    [ -z "$missing" ] || {
        say "still missing after their installation: $missing (Python 3.11 and Java 17 are the oldest that will do)"
        exit 1
    }
}

# done_already STAMP FILE... : whether STAMP holds the hash of the files (and of $key).
done_already() {
    stamp=$1
    shift
    want=$({
        echo "${key:-}"
        cat "$@"
    } | sha256sum | cut -d ' ' -f 1)
    [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]
}

make_venv() {
    python=$(find_python)
    key=$("$python" -c 'import sys; print(sys.version_info[:2], sys.base_prefix)')
    if [ -e .venv ] && ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        say "the virtual environment does not work any more: making it anew"
        rm -rf .venv
    fi
    [ -e .venv ] || {
        say "making the virtual environment with $python"
        "$python" -m venv .venv
    }
    done_already .venv/.packages requirements.lock || {
        say "installing the locked packages"
        .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock >&2
        echo "$want" >.venv/.packages
    }
    key=$PWD
    done_already .venv/.hub pyproject.toml || {
        .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
        echo "$want" >.venv/.hub
    }
}

fetch_jars() {
    key=
    done_already .jars/.stamp hub/kafka/pom.xml hub/kafka/jars.sha256 && return
    say "fetching the embedded broker"
    rm -rf .jars.new
    mvn -q -B -Dstyle.color=never -f hub/kafka/pom.xml dependency:copy-dependencies "-DoutputDirectory=$PWD/.jars.new" >&2
    (cd .jars.new && sha256sum --quiet --strict -c ../hub/kafka/jars.sha256) >&2 || {
        say "what was fetched is not what hub/kafka/jars.sha256 names: nothing of it was kept"
        rm -rf .jars.new
        exit 1
    }
    echo "$want" >.jars.new/.stamp
    rm -rf .jars
    mv .jars.new .jars
}

mkdir -p build
exec 9>build/setup.lock
has flock && flock 9
install_missing
make_venv
fetch_jars
