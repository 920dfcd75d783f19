#!/bin/sh
# Makes what docker-compose.yml reads, once: .secrets/, which nobody else on this machine may enter. The store's
# password; and for the brokers and the hub, certificates by an authority of their own. Agencies get kafka_ca.pem, to
# know the brokers by the name that they reach them under, KAFKA_AGENCIES_HOST (localhost unless it is set).
# Inside, files are readable, because containers read them under users of their own.
set -eu
cd "$(dirname "$0")/.."
[ -e .secrets/hub_store_url ] && [ -e .secrets/hub.pem ] && {
    echo "secrets: .secrets/ has them already; nothing was changed" >&2
    exit 0
}
command -v openssl >/dev/null || {
    echo "secrets: openssl is not there to make certificates with: apt-get install openssl" >&2
    exit 1
}
umask 077
mkdir -p .secrets
[ -e .secrets/hub_store_url ] || {
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    umask 022
    printf '%s' "$password" >.secrets/store_password
    printf 'postgresql://hub:%s@postgres/hub' "$password" >.secrets/hub_store_url
}

# The authority's key stays in this process's hands alone: who needs another certificate makes all of them anew.
new=$(mktemp -d .secrets/new.XXXXXX)
trap 'rm -rf "$new"' EXIT
umask 077
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
key "$new/authority.key"
openssl req -x509 -new -key "$new/authority.key" -days 3650 -subj "/CN=diversion-hub broker authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -out "$new/kafka_ca.pem"

# issue NAME USES HOSTS : NAME.pem, a key with its certificate.
issue() {
    key "$new/$1.key"
    openssl req -new -key "$new/$1.key" -subj "/CN=$1" -out "$new/$1.csr"
    {
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$2"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
        [ -z "$3" ] || echo "subjectAltName=$3"
    } >"$new/$1.ext"
    openssl x509 -req -in "$new/$1.csr" -CA "$new/kafka_ca.pem" -CAkey "$new/authority.key" -CAcreateserial \
        -days 730 -extfile "$new/$1.ext" -out "$new/$1.crt" 2>/dev/null
    cat "$new/$1.key" "$new/$1.crt" >"$new/$1.pem"
}
host=${KAFKA_AGENCIES_HOST:-localhost}
case $host in *[!0-9.]*) host="DNS:$host" ;; *) host="IP:$host" ;; esac
for broker in kafka-1 kafka-2 kafka-3; do
    issue "$broker" serverAuth,clientAuth "DNS:$broker,DNS:localhost,$host"
done
issue hub clientAuth ""
chmod 644 "$new"/*.pem
for name in kafka_ca kafka-1 kafka-2 kafka-3 hub; do # what says that all is there comes last
    mv "$new/$name.pem" .secrets/
done
