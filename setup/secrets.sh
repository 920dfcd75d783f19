#!/bin/sh
# Makes the passwords that docker-compose.yml reads, once: .secrets/, which nobody else on this machine may enter.
# Inside, files are readable, because containers read them under users of their own.
set -eu
cd "$(dirname "$0")/.."
[ -e .secrets/hub_store_url ] && {
    echo "secrets: .secrets/ has them already; nothing was changed" >&2
    exit 0
}
umask 077
mkdir -p .secrets
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
umask 022
printf '%s' "$password" >.secrets/store_password
printf 'postgresql://hub:%s@postgres/hub' "$password" >.secrets/hub_store_url
