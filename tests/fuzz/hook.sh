#!/usr/bin/env bash
# Sends what its own description allows, and what it does not, to the hook API over the simulated cluster.
#   hook.sh SECONDS
# Half of the time paths name what is there, half of it anything. Needs python3; the fuzzer goes into the cache.
set -euo pipefail

seconds=${1:-60}
here=$(cd "$(dirname "$0")" && pwd)
version=4.32.5
tool=${BELLWETHER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bellwether}/tools/schemathesis-$version
if [ ! -e "$tool/ready" ]; then
    echo "installing schemathesis $version into the cache, once"
    rm -rf "$tool"
    python3 -m venv "$tool"
    "$tool/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
    touch "$tool/ready"
fi

work=$(mktemp -d)
server=
# shellcheck disable=SC2329 # called by trap
finish() {
    if [ -n "$server" ]; then kill "$server" 2> /dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT

binary=$(cd "$here/../.." && "${CARGO:-cargo}" test --locked --package bellwether --test it --no-run --message-format json 2> /dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable") and made["target"]["name"] == "it": print(made["executable"])')
BELLWETHER_FUZZ_ADDRESS_FILE=$work/address "$binary" --exact hook_load::serves_the_fuzzer --ignored > "$work/server" 2>&1 &
server=$!
for _ in $(seq 300); do
    if [ -s "$work/address" ]; then break; fi
    sleep 0.1
done
url=http://$(cat "$work/address")

# Runs where it may leave its own files.
fuzz() {
    (cd "$work" && "$tool/bin/st" --config-file "$here/$1.toml" run "$url/v1/openapi.json" --max-time $((seconds / 2)) \
        --no-color --workers 1 --request-timeout 40 --header "Authorization: Bearer everywhere" --generation-database none \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection)
}

status=0
fuzz known || status=$?
fuzz any || status=$?
if ! kill -0 "$server" 2> /dev/null; then
    echo "the server ended:" >&2
    cat "$work/server" >&2
    status=1
fi
exit "$status"
