#!/usr/bin/env bash
# Tests examples/ci/promote.sh against the fake server, several at a time, each with a server of its own.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
promote=$here/../../examples/ci/promote.sh
token=s3cret-token-of-the-tests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# serve NAME OPTIONS: a fresh server; sets url and server.
serve() {
    python3 "$here/fake_hook.py" > "$work/$1.url" &
    server=$!
    for _ in $(seq 100); do
        if [ -s "$work/$1.url" ]; then break; fi
        sleep 0.1
    done
    url=$(cat "$work/$1.url")
    curl -sS -o /dev/null -d "$2" "$url/fake/reset"
}

play() {
    BELLWETHER_URL=$url BELLWETHER_TOKEN=$token BELLWETHER_KEY=${key:-ci-1} BELLWETHER_JOB='a "job" \ ü' "$promote" shop/web "${image:-registry.example/web:1.2}"
}

journal() { curl -sS -d '{}' "$url/fake/journal"; }

# matches NAME: what was printed is the server's log, and one promotion was made.
matches() {
    journal > "$work/$1.journal"
    python3 - "$work/$1.journal" "$work/$1.out" <<'PY'
import json, sys
journal = json.load(open(sys.argv[1]))
printed = open(sys.argv[2], "rb").read().decode()
assert journal["created"] == 1, journal["created"]
assert printed == journal["log"], (printed, journal["log"])
PY
}

# plays NAME OPTIONS CODE: one run, its exit code and its log.
plays() {
    local code=0
    serve "$1" "$2"
    play > "$work/$1.out" 2> "$work/$1.err" || code=$?
    local verdict=ok
    if [ "$code" -ne "$3" ]; then verdict="exit code $code, not $3"; fi
    if grep -q "$token" "$work/$1.out" "$work/$1.err"; then verdict="the token was printed"; fi
    if [ "$verdict" = ok ] && [ "$4" = log ] && ! matches "$1" 2> "$work/$1.diff"; then verdict="the log differs: $(tail -n 1 "$work/$1.diff")"; fi
    kill "$server"
    echo "$verdict" > "$work/$1.verdict"
}

twice() {
    local first=0 second=0 verdict=ok
    serve twice '{"scenario": "rolledback", "cut": 2}'
    play > "$work/twice.first" 2> /dev/null || first=$?
    play > "$work/twice.out" 2> /dev/null || second=$?
    if [ "$first:$second" != 3:3 ] || ! cmp -s "$work/twice.first" "$work/twice.out" || ! matches twice; then verdict="the second run differs"; fi
    kill "$server"
    echo "$verdict" > "$work/twice.verdict"
}

# stopped NAME OPTIONS: told to stop while it waits.
stopped() {
    local code=0 verdict=ok script
    serve "$1" "$2"
    play > "$work/$1.out" 2> "$work/$1.err" &
    script=$!
    for _ in $(seq 100); do
        if [ "$(wc -l < "$work/$1.out")" -ge 3 ]; then break; fi
        sleep 0.1
    done
    # The subshell stands before the script, which is its only child.
    kill -TERM "$(ps -o pid= --ppid "$script" | head -n 1)"
    wait "$script" || code=$?
    if [ "$code" -ne 5 ]; then verdict="exit code $code, not 5"; fi
    if ! journal | grep -q '"aborts": \[{"action": "rollback"'; then verdict="it was not called off"; fi
    if [ "$verdict" = ok ] && ! matches "$1"; then verdict="the log differs"; fi
    kill "$server"
    echo "$verdict" > "$work/$1.verdict"
}

# refused KEY CANARY IMAGE DEADLINE: as bad input, before the closed port is asked.
refused() {
    local code=0
    BELLWETHER_URL=http://127.0.0.1:9 BELLWETHER_TOKEN=t BELLWETHER_KEY=$1 BELLWETHER_DEADLINE=$4 \
        timeout -s KILL 5 "$promote" "$2" "$3" > /dev/null 2>&1 || code=$?
    [ "$code" -eq 2 ]
}

refuses() {
    local code=0
    url=http://127.0.0.1:9 server=
    (key=" " play) > /dev/null 2>&1 || code=$?
    [ "$code" -eq 2 ] || code=bad
    (image='a"b' play) > /dev/null 2>&1 || [ $? -eq 2 ] || code=bad
    local more=$'\nx'
    refused "k$more" shop/web web:1 2700 || code=bad
    refused k "shop$more/web" web:1 2700 || code=bad
    refused k "shop/web$more" web:1 2700 || code=bad
    refused k shop/web "web:1$more" 2700 || code=bad
    refused k shop/web $'web:1\n' 2700 || code=bad
    refused k shop/web $'web:1\n", "await": "' 2700 || code=bad
    refused k shop/web web:1 $'2700\n1' || code=bad
    (cd / && BELLWETHER_URL=$url BELLWETHER_KEY=k "$promote" shop/web x) > /dev/null 2>&1 || [ $? -eq 2 ] || code=bad
    if [ "$code" = 2 ]; then echo ok; else echo "bad input was taken"; fi > "$work/refuses.verdict"
}

begin=$(date +%s)
plays promoted '{"scenario": "promoted", "cut": 2}' 0 log &
plays rolledback '{"scenario": "rolledback", "cut": 7}' 3 log &
plays aborted '{"scenario": "aborted"}' 5 log &
plays superseded '{"scenario": "superseded", "cut": 21}' 6 log &
plays failed '{"scenario": "failed"}' 8 log &
plays notail '{"scenario": "notail", "cut": 3}' 0 log &
plays stale '{"scenario": "promoted", "cut": 3, "stale": true}' 0 log &
wait
plays conflict '{"scenario": "conflict"}' 1 - &
plays frozen '{"scenario": "frozen"}' 1 - &
plays wrong-address '{"scenario": "promoted", "faults": {"1": "gone"}}' 1 - &
plays at-the-start '{"scenario": "promoted", "cut": 2, "faults": {"1": "503", "2": "lost", "4": "page"}}' 0 log &
plays in-between '{"scenario": "promoted", "cut": 2, "faults": {"2": "500", "4": "lost", "6": "login", "8": "cut", "10": "otherjson", "12": "gone"}}' 0 log &
plays pages '{"scenario": "promoted", "cut": 2, "faults": {"9": "page", "10": "login"}}' 0 log &
twice &
stopped stopped '{"scenario": "never"}' &
stopped stopped-disturbed '{"scenario": "never", "faults": {"10": "502", "11": "lost", "12": "page"}}' &
refuses &
wait

failed=0
total=0
for verdict in "$work"/*.verdict; do
    total=$((total + 1))
    if [ "$(cat "$verdict")" != ok ]; then
        failed=$((failed + 1))
        name=$(basename "$verdict" .verdict)
        echo "  FAILED promote.sh, $name: $(cat "$verdict")"
        tail -n 5 "$work/$name.err" 2> /dev/null | sed 's/^/    /'
    fi
done
if [ "$total" -ne 17 ]; then echo "  FAILED promote.sh: $total of 17 cases were played"; failed=$((failed + 1)); fi
printf '%-58s %4d cases %6d s    %s\n' 'examples/ci/promote.sh' "$total" $(($(date +%s) - begin)) "$([ "$failed" -eq 0 ] && echo ok || echo "$failed FAILED")"
[ "$failed" -eq 0 ]
