#!/bin/sh
# Makes this checkout ready: setup/setup.sh run|test|bench
#
# run    .venv with `hub` in it, and the embedded broker's jars in .jars/
# test   besides, what the tests need: Chromium, a PostgreSQL server, a Java compiler; and others' programs that they
#        hold the hub against, in build/peers/
# bench  the same; the benchmarks compile their peers themselves
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

# What tests want and are skipped without, out loud. Asked for once: a system that has none is not asked again.
install_wished() {
    has softhsm2-util && return
    [ -e build/.no-softhsm ] && return
    if has apt-get && [ "$(id -u)" = 0 ]; then
        say "installing softhsm2"
        apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends softhsm2 >&2 && return
    fi
    touch build/.no-softhsm
    say "there is no SoftHSM (apt-get install softhsm2): keys in a security module are not tested"
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
        .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock >&2
        echo "$want" >.venv/.packages
    }
    key=$PWD
    done_already .venv/.hub pyproject.toml || {
        .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
        echo "$want" >.venv/.hub
    }
}

# fetch_jars WHAT POM SUMS FOLDER : the jars that POM names, all of them those that SUMS names, or none.
fetch_jars() {
    key=
    done_already "$4/.stamp" "$2" "$3" && return
    say "fetching $1"
    rm -rf "$4.new"
    mvn -q -B -Dstyle.color=never -f "$2" dependency:copy-dependencies "-DoutputDirectory=$PWD/$4.new" >&2
    (cd "$4.new" && sha256sum --quiet --strict -c -) <"$3" >&2 || {
        say "what was fetched is not what $3 names: nothing of it was kept"
        rm -rf "$4.new"
        exit 1
    }
    echo "$want" >"$4.new/.stamp"
    rm -rf "$4"
    mv "$4.new" "$4"
}

# The broker's classes as they are once loaded: it starts in half the time with them. A java that cannot use them
# goes on without.
keep_classes() {
    key=$(env -u JDK_JAVA_OPTIONS "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1)
    done_already .jars/.classes hub/kafka/jars.sha256 && return
    say "keeping the embedded broker's classes for quick starts"
    rm -f .jars/broker.jsa*
    new=$PWD/.jars/broker.jsa.new hub=$PWD/.venv/bin/hub data=$(mktemp -d)
    broker() {
        (cd "$data" && env -i PATH="$PATH" ${JAVA_HOME:+"JAVA_HOME=$JAVA_HOME"} HUB_DATA="$data" \
            JDK_JAVA_OPTIONS="-XX:ArchiveClassesAtExit=$new" "$hub" broker "$@")
    }
    if pid=$(broker start --json | sed -n 's/.*"pid": \([0-9]*\).*/\1/p') && [ -n "$pid" ]; then
        kill "$pid"
        for _ in $(seq 60); do # it writes them when it ends; `hub broker stop` would not wait so long
            broker status >/dev/null || break
            sleep 1
        done
        broker stop >/dev/null
        mv "$new" .jars/broker.jsa && echo "$want" >.jars/.classes
    fi
    rm -rf "$data"
}

# Where there is no npm, the tests that want these say so and are skipped.
fetch_node_modules() {
    key=
    has npm || return 0
    folder=build/peers/$1
    done_already $folder/.stamp tests/peers/$1/package-lock.json && return
    say "fetching $2"
    rm -rf $folder
    mkdir -p $folder
    cp tests/peers/$1/package.json tests/peers/$1/package-lock.json $folder
    npm ci --prefix $folder --ignore-scripts --no-audit --no-fund --silent >&2
    echo "$want" >$folder/.stamp
}

mkdir -p build
exec 9>build/setup.lock
has flock && flock 9
install_missing
make_venv & # most of all this is waiting for others' servers
packages=$!
fetch_jars "the embedded broker" hub/kafka/pom.xml hub/kafka/jars.sha256 .jars
[ "$level" = run ] || {
    install_wished
    fetch_jars "a FHIR server to test with" tests/peers/fhir/pom.xml tests/peers/fhir/jars.sha256 build/peers/fhir
    fetch_node_modules webhooks "Standard Webhooks for JavaScript"
    fetch_node_modules provider "an OpenID Connect provider to sign in at"
}
wait $packages
keep_classes
