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

fail() {
    echo "$1" >&2
    if [ -e "$work/server" ]; then cat "$work/server" >&2; fi
    exit 1
}

(cd "$here/../.." && "${CARGO:-cargo}" test --locked --workspace --test hook_load --no-run \
    --message-format json-render-diagnostics) > "$work/built"
binary=$(python3 -c 'import json, sys
made = [json.loads(line) for line in sys.stdin if line.startswith("{")]
[binary] = [one["executable"] for one in made if one.get("executable") and one["target"]["name"] == "hook_load"]
print(binary)' < "$work/built")
"$binary" serve "$work/address" > "$work/server" 2>&1 &
server=$!
for _ in $(seq 300); do
    if [ -s "$work/address" ]; then break; fi
    kill -0 "$server" 2> /dev/null || fail "the server ended before it listened:"
    sleep 0.1
done
if [ ! -s "$work/address" ]; then fail "the server does not listen:"; fi
url=http://$(cat "$work/address")

# Runs where it may leave its own files.
fuzz() {
    (cd "$work" && exec "$tool/bin/st" --config-file "$here/$1.toml" run "$url/v1/openapi.json" --max-time $((seconds / 2)) \
        --no-color --workers 1 --request-timeout 40 --header "Authorization: Bearer everywhere" --generation-database none \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection)
}

# Both run, whatever the first finds.
known=0
any=0
fuzz known || known=$?
fuzz any || any=$?
if ! kill -0 "$server" 2> /dev/null; then fail "the server ended:"; fi
if [ "$known" != 0 ] || [ "$any" != 0 ]; then
    echo "the fuzzer ended with $known where paths name what is there, and with $any where they name anything" >&2
    exit 1
fi
