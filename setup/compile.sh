#!/bin/sh
# compile.sh : build/compiled/bin/hub, the hub with its hot path compiled by mypyc. Which modules, pyproject.toml says.
#
# The packages are compiled as a copy and installed apart, so that the checkout stays what it is: interpreted. Nothing
# is done where what it was made from is unchanged. Needs a set-up checkout, a C compiler and Python's headers.
# Status: 0 it is there, 1 something is missing or does not compile, and is named.
set -eu
cd "$(dirname "$0")/.."

python=$PWD/.venv/bin/python
folder=$PWD/build/compiled
sources="schemas consent streams connectors hub"
[ -x "$python" ] || {
    echo "compile: there is no .venv yet; run \`make setup\` first" >&2
    exit 1
}
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! command -v "${CC:-cc}" >/dev/null 2>&1 || ! [ -e "$headers/Python.h" ]; then
    echo "compile: this needs a C compiler and Python's headers (Debian: apt-get install gcc libc6-dev python3-dev)" >&2
    exit 1
fi

mkdir -p build
exec 8>build/compile.lock
command -v flock >/dev/null && flock 8
want=$({
    "$python" -VV
    echo "$PWD"
    # shellcheck disable=SC2086  # five words on purpose
    find $sources -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum pyproject.toml requirements.lock setup/compile.sh
} | sha256sum | cut -d ' ' -f 1)
[ "$(cat "$folder/.stamp" 2>/dev/null)" = "$want" ] && exit 0

echo "compile: compiling the hot path" >&2
rm -rf "$folder" build/wheel
mkdir -p build/source build/wheel
find build/source -mindepth 1 -maxdepth 1 ! -name .mypy_cache -exec rm -rf {} +
# shellcheck disable=SC2086
tar -c --exclude='*.pyc' --exclude=__pycache__ pyproject.toml README.md LICENSE $sources | tar -x -C build/source
HATCH_BUILD_HOOK_ENABLE_MYPYC=true "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir build/wheel build/source >&2
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder" build/wheel/*.whl >&2

ln -s "$PWD/.jars" "$folder/.jars"

# The Python that finds these packages in front of the checkout's; what it starts does so, too.
cat >"$folder/bin/python" <<END
#!/bin/sh
PYTHONPATH="$folder:$PWD" PYTHONSAFEPATH=1 exec "$python" "\$@"
END
cat >"$folder/bin/hub" <<END
#!/bin/sh
exec "$folder/bin/python" -m hub.cli "\$@"
END
chmod +x "$folder/bin/python" "$folder/bin/hub"
echo "$want" >"$folder/.stamp"
