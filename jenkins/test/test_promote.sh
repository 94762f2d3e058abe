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
    rm -f "$work/$1.url"
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

# tools NAME: commands that stand before the real ones in PATH: a clock that goes on by what is slept, and a record of all arguments.
tools() {
    local dir=$work/$1.tools tool real
    mkdir -p "$dir"
    echo 0 > "$dir/passed"
    for tool in curl sed tr grep cat head awk mktemp rm cp wc sh ps; do
        real=$(command -v "$tool")
        printf '#!/bin/sh\nprintf "%%s\\n" "%s $*" >> "%s/arguments"\n' "$tool" "$dir" > "$dir/$tool"
        if [ "$tool" = curl ]; then
            # A token that is sent must have been masked before.
            cat >> "$dir/curl" <<SH
for argument; do
    case \$argument in @*/token)
        if [ "\${GITHUB_ACTIONS:-}" = true ] && ! $(command -v grep) -qx "::add-mask::\$(sed 's/.* //' "\${argument#@}")" "$work/$1.err"; then echo unmasked >> "$dir/unmasked"; fi ;;
    esac
done
SH
        fi
        printf 'exec %s "$@"\n' "$real" >> "$dir/$tool"
    done
    # shellcheck disable=SC2016 # for the script that is written
    printf '#!/bin/sh\necho $((%s + $(%s %s/passed)))\n' "$(date +%s)" "$(command -v cat)" "$dir" > "$dir/date"
    # shellcheck disable=SC2016 # for the script that is written
    printf '#!/bin/sh\npassed=$(%s %s/passed)\necho $((passed + $1)) > %s/passed\n' "$(command -v cat)" "$dir" "$dir" > "$dir/sleep"
    chmod +x "$dir"/*
}

# tried NAME CODE [TEXT…]: the run that is over had this code, and said all of these; no token stands where it must not.
tried() {
    local name=$1 code=$2 wanted=$3 verdict=ok text
    if [ "$code" -ne "$wanted" ]; then verdict="exit code $code, not $wanted"; fi
    shift 3
    for text; do
        case $text in
            !*) if grep -qF -- "${text#!}" "$work/$name.err"; then verdict="it said ${text#!}"; fi ;;
            *) if ! grep -qF -- "$text" "$work/$name.err"; then verdict="it did not say $text"; fi ;;
        esac
    done
    if grep -v '^::add-mask::' "$work/$name.err" | cat - "$work/$name.out" | grep -q 's3cret'; then verdict="a token was printed"; fi
    if [ -d "$work/$name.tools" ]; then
        if [ ! -s "$work/$name.tools/arguments" ]; then verdict="no arguments were recorded"; fi
        if grep -q 's3cret\|of-the-runner' "$work/$name.tools/arguments"; then verdict="a token is an argument: $(grep -m 1 's3cret\|of-the-runner' "$work/$name.tools/arguments")"; fi
        if [ -e "$work/$name.tools/unmasked" ]; then verdict="a token was used before it was masked"; fi
    fi
    echo "$verdict" > "$work/$name.verdict"
}

# attempt NAME [VARIABLE=VALUE…]: one run with its own tools in front if there are any; sets code.
attempt() {
    local name=$1 path=$PATH
    shift
    if [ -d "$work/$name.tools" ]; then path=$work/$name.tools:$PATH; fi
    code=0
    env PATH="$path" NO_PROXY='*' BELLWETHER_URL="$url" BELLWETHER_KEY=ci-1 "$@" "$promote" shop/web "${image:-registry.example/web:1.2}" \
        > "$work/$name.out" 2> "$work/$name.err" || code=$?
}

# asked NAME PYTHON: what was asked of the server is as it must be.
asked() {
    journal > "$work/$1.journal"
    python3 -c "import json, sys; j = json.load(open(sys.argv[1])); assert $2, j" "$work/$1.journal" 2> "$work/$1.diff" || echo "$2 is not so: $(tail -n 1 "$work/$1.diff")" > "$work/$1.verdict"
}

# minting: a command that prints a token, as a vault's client would.
minting() { echo "curl -sS -d {} $url/fake/token | sed 's/.*\"value\": \"//; s/\".*//'"; }

renewed() {
    serve by-command '{"scenario": "promoted", "tokenSeconds": 5, "slow": 3}'
    tools by-command
    attempt by-command BELLWETHER_TOKEN_COMMAND="$(minting)" BELLWETHER_TOKEN_SECONDS=1 GITHUB_ACTIONS=true
    # The clock of the tools stands still: it is the refusal alone that makes another.
    tried by-command "$code" 0 '::add-mask::minted-0' '!asking again'
    matches by-command || echo "the log differs" > "$work/by-command.verdict"
    asked by-command 'j["minted"] >= 2 and 1 <= j["denied"] <= 5'
    kill "$server"
}

before_its_end() {
    serve before-its-end '{"scenario": "promoted", "tokenSeconds": 6, "slow": 3}'
    attempt before-its-end BELLWETHER_TOKEN_COMMAND="$(minting)" BELLWETHER_TOKEN_SECONDS=1
    tried before-its-end "$code" 0 '!asking again' '!add-mask'
    asked before-its-end 'j["minted"] >= 4 and j["denied"] == 0'
    kill "$server"
}

github() {
    serve github '{"scenario": "promoted", "tokenSeconds": 5, "slow": 3}'
    tools github
    attempt github ACTIONS_ID_TOKEN_REQUEST_URL="$url/fake/token?api-version=2" ACTIONS_ID_TOKEN_REQUEST_TOKEN=of-the-runner GITHUB_ACTIONS=true
    tried github "$code" 0 '::add-mask::minted-0' '::add-mask::minted-1' '!asking again'
    matches github || echo "the log differs" > "$work/github.verdict"
    asked github 'j["minted"] >= 2 and j["denied"] >= 1'
    kill "$server"
}

by_file() {
    local writer
    serve by-file '{"scenario": "promoted", "tokenSeconds": 7, "slow": 3}'
    eval "$(minting)" > "$work/by-file.token"
    (
        while sleep 0.8; do
            eval "$(minting)" > "$work/by-file.next" && mv "$work/by-file.next" "$work/by-file.token"
        done
    ) 2> /dev/null &
    writer=$!
    attempt by-file BELLWETHER_TOKEN_FILE="$work/by-file.token"
    kill "$writer"
    tried by-file "$code" 0
    asked by-file 'j["minted"] >= 4 and j["created"] == 1 and j["denied"] == 0'
    kill "$server"
}

# faults FAULT FROM TO: as the server takes them.
faults() { python3 -c "import json, sys; print(json.dumps({n: sys.argv[1] for n in range(int(sys.argv[2]), int(sys.argv[3]) + 1)}))" "$@"; }

# patient STATUS
patient() {
    local fault=$1
    serve "patient-$fault" "{\"scenario\": \"promoted\", \"cut\": 2, \"faults\": $(faults "$fault" 3 13)}"
    tools "patient-$fault"
    attempt "patient-$fault" BELLWETHER_TOKEN=$token
    tried "patient-$fault" "$code" 0 'asking again in 16 s'
    if [ "$(cat "$work/patient-$fault.tools/passed")" -lt 120 ]; then echo "it was not waited out for two minutes" > "$work/patient-$fault.verdict"; fi
    matches "patient-$fault" || echo "the log differs" > "$work/patient-$fault.verdict"
    kill "$server"
}

refused_for_good() {
    serve refused-for-good "{\"scenario\": \"never\", \"faults\": $(faults 401 3 900)}"
    tools refused-for-good
    attempt refused-for-good BELLWETHER_TOKEN=$token
    tried refused-for-good "$code" 1 'no verdict about the release: the token is refused for 3 minutes' "the release goes on: shop/p-"
    if ! tail -n 1 "$work/refused-for-good.err" | grep -q "the release goes on: shop/p-.*, $url/v1/namespaces/shop/promotions/p-"; then echo "the last line is another" > "$work/refused-for-good.verdict"; fi
    asked refused-for-good 'j["aborts"] == []'
    kill "$server"
}

called_off_when_lost() {
    serve called-off-when-lost "{\"scenario\": \"never\", \"faults\": $(faults 401 3 19)}"
    tools called-off-when-lost
    attempt called-off-when-lost BELLWETHER_TOKEN=$token BELLWETHER_ON_LOST=abort
    tried called-off-when-lost "$code" 5 'calling p-' ': Aborted' '!goes on'
    asked called-off-when-lost 'j["aborts"] == [{"action": "rollback", "reason": "the pipeline lost sight of it"}]'
    kill "$server"
}

too_long() {
    serve too-long "{\"scenario\": \"never\", \"faults\": $(faults 502 12 900)}"
    tools too-long
    attempt too-long BELLWETHER_TOKEN=$token BELLWETHER_DEADLINE=600
    tried too-long "$code" 7 'infrastructure fault, no verdict about the release: no answer in time' 'the release goes on: shop/p-'
    kill "$server"
}

at_once() {
    serve wrong-token '{"scenario": "promoted"}'
    attempt wrong-token BELLWETHER_TOKEN=s3cret-but-wrong
    tried wrong-token "$code" 1 'no verdict about the release: the token is not accepted' '!goes on' '!asking again'
    asked wrong-token 'len(j["requests"]) == 1'
    attempt no-token BELLWETHER_TOKEN_COMMAND='echo broken >&2; exit 3'
    tried no-token "$code" 1 'no verdict about the release: no token could be had from the command (broken' '!asking again'
    attempt odd-token BELLWETHER_TOKEN_COMMAND='echo two; echo lines'
    tried odd-token "$code" 1 'what came from the command is no token' '!asking again'
    attempt no-such-name BELLWETHER_TOKEN=$token BELLWETHER_URL=http://nobody.invalid
    tried no-such-name "$code" 1 'no verdict about the release: the request failed' 'resolve' '!asking again'
    tools wrong-certificate
    printf '#!/bin/sh\necho "$*" >> %s/wrong-certificate.tools/arguments\necho "curl: (60) SSL certificate problem: self-signed certificate" >&2\nprintf 000\nexit 60\n' "$work" > "$work/wrong-certificate.tools/curl"
    attempt wrong-certificate BELLWETHER_TOKEN=$token
    tried wrong-certificate "$code" 1 'no verdict about the release: the request failed (curl: (60) SSL certificate problem' '!asking again'
    tools no-curl
    rm "$work/no-curl.tools/curl"
    code=0
    env PATH="$work/no-curl.tools" BELLWETHER_URL="$url" BELLWETHER_KEY=ci-1 BELLWETHER_TOKEN=$token "$promote" shop/web web:1 > "$work/no-curl.out" 2> "$work/no-curl.err" || code=$?
    tried no-curl "$code" 1 'no verdict about the release: curl is not installed'
    kill "$server"
}

redirected() {
    serve redirected '{"scenario": "promoted", "cut": 2, "faults": {"1": "away", "3": "away", "6": "away"}}'
    mkdir -p "$work/home"
    echo location-trusted > "$work/home/.curlrc"
    attempt redirected BELLWETHER_TOKEN=$token HOME="$work/home"
    tried redirected "$code" 0 'redirected (302) to http://localhost' '!clear text'
    asked redirected 'j["stolen"] == [] and j["created"] == 1'
    kill "$server"
    serve plain '{"scenario": "promoted"}'
    attempt plain BELLWETHER_TOKEN=$token NO_PROXY= http_proxy="$url" BELLWETHER_URL=http://bellwether.example
    tried plain "$code" 0 'warning: http://bellwether.example is not https; the token is sent in clear text'
    kill "$server"
}

forgotten() {
    local end
    serve forgotten '{"scenario": "promoted"}'
    attempt forgotten BELLWETHER_TOKEN=$token
    for end in Succeeded:0 RolledBack:3 Aborted:5 Vanished:9; do
        curl -sS -o /dev/null -d "{\"result\": \"${end%:*}\", \"exitCode\": ${end#*:}}" "$url/fake/forget"
        attempt "forgotten-${end%:*}" BELLWETHER_TOKEN=$token
        tried "forgotten-${end%:*}" "$code" "${end#*:}" "ended at 2026-01-01T10:30:00Z with the result ${end%:*}, exit code ${end#*:}, and is kept no more; nothing was started"
        asked "forgotten-${end%:*}" 'j["created"] == 1'
    done
    curl -sS -o /dev/null -d '{"result": "Vanished"}' "$url/fake/forget"
    attempt forgotten-without-code BELLWETHER_TOKEN=$token
    tried forgotten-without-code "$code" 1 'with the result Vanished'
    kill "$server"
    serve forgotten-meanwhile '{"scenario": "never", "slow": 1}'
    (sleep 2 && curl -sS -o /dev/null -d '{"result": "RolledBack", "exitCode": 3}' "$url/fake/forget") &
    attempt forgotten-meanwhile BELLWETHER_TOKEN=$token
    tried forgotten-meanwhile "$code" 3 'with the result RolledBack'
    kill "$server"
}

reused() {
    serve reused '{"scenario": "promoted"}'
    attempt reused BELLWETHER_TOKEN=$token
    image=other:1 attempt reused BELLWETHER_TOKEN=$token
    tried reused "$code" 1 'the same key with another body' 'give each promotion a key of its own' '!goes on'
    kill "$server"
}

# tame NAME: nothing that a terminal or GitHub would obey was printed.
tame() {
    python3 - "$work/$1.out" "$work/$1.err" <<'PY' 2> "$work/$1.diff" || echo "something wild was printed: $(tail -n 1 "$work/$1.diff")" > "$work/$1.verdict"
import re, sys
for name in sys.argv[1:]:
    text = open(name, "rb").read().decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]", text), ascii(text)
    assert not re.search(r"^\s*::|##\[", text, re.M), text
PY
}

wild() {
    serve wild '{"scenario": "evil", "faults": {"1": "evil", "3": "evil"}}'
    attempt wild BELLWETHER_TOKEN=$token BELLWETHER_JOB="$(printf 'a\033[31m \342\200\256 "b"')" BELLWETHER_USER="$(printf 'mia\n::error::x\t')"
    tried wild "$code" 3
    if ! grep -q '^: :error::forged' "$work/wild.out"; then echo "the log differs" > "$work/wild.verdict"; fi
    tame wild
    asked wild 'j["bodies"][0]["requester"]["job"] == "a?[31m ? \"b\"" and j["bodies"][0]["requester"]["user"] == "mia : :error::x "'
    kill "$server"
    serve wild-refusal '{"scenario": "promoted", "faults": {"1": "evil-refusal"}}'
    attempt wild-refusal BELLWETHER_TOKEN=$token
    tried wild-refusal "$code" 1 'status 409'
    tame wild-refusal
    attempt wild-input BELLWETHER_TOKEN=$token BELLWETHER_URL="$(printf 'ftp://\033[31m')"
    tried wild-input "$code" 2
    image=$(printf 'x\033[31m\n::error::y') attempt wild-image BELLWETHER_TOKEN=$token
    tried wild-image "$code" 2 'not an image'
    tame wild-image
    kill "$server"
}

goes_on() {
    local script
    serve not-called-off "{\"scenario\": \"never\", \"faults\": $(faults 403 8 900)}"
    BELLWETHER_ABORT_WAIT=5 play > "$work/not-called-off.out" 2> "$work/not-called-off.err" &
    script=$!
    for _ in $(seq 100); do
        if grep -qs 'asking again' "$work/not-called-off.err"; then break; fi
        sleep 0.1
    done
    kill -TERM "$(ps -o pid= --ppid "$script" | head -n 1)"
    code=0
    wait "$script" || code=$?
    tried not-called-off "$code" 5 'calling p-'
    if ! tail -n 1 "$work/not-called-off.err" | grep -q 'the release goes on: shop/p-'; then echo "the last line is another" > "$work/not-called-off.verdict"; fi
    kill "$server"
}

# started_or_not NAME FAULT: the answer to the start is lost, and a later try is refused.
started_or_not() {
    serve "lost-then-$1" "{\"scenario\": \"never\", \"faults\": {\"1\": \"lost\", \"2\": \"$1\"}}"
    attempt "lost-then-$1" BELLWETHER_TOKEN=$token
    tried "lost-then-$1" "$code" 1
    if ! tail -n 1 "$work/lost-then-$1.err" | grep -qF "it may have been started all the same, with the key ci-1: see $url/v1/namespaces/shop/canaries/web"; then echo "the last line is another" > "$work/lost-then-$1.verdict"; fi
    asked "lost-then-$1" 'j["created"] == 1 and j["aborts"] == []'
    kill "$server"
    serve "lost-then-$1-off" "{\"scenario\": \"never\", \"faults\": {\"1\": \"lost\", \"2\": \"$1\"}}"
    attempt "lost-then-$1-off" BELLWETHER_TOKEN=$token BELLWETHER_ON_LOST=abort
    tried "lost-then-$1-off" "$code" 5 'calling p-' ': Aborted' '!goes on' '!all the same'
    asked "lost-then-$1-off" 'j["created"] == 1 and [a["action"] for a in j["aborts"]] == ["rollback"]'
    kill "$server"
}

# log_lost NAME FAULT CODE SCENARIO: the verdict is known, and the end of the log cannot be read.
log_lost() {
    local from
    serve "$1" "{\"scenario\": \"$4\", \"cut\": 7}"
    attempt "$1" BELLWETHER_TOKEN=$token
    from=$(journal | python3 -c 'import json, sys; r = json.load(sys.stdin)["requests"]; print(max(i for i, it in enumerate(r) if "/log?" in it) + 1)')
    kill "$server"
    serve "$1" "{\"scenario\": \"$4\", \"cut\": 7, \"faults\": $(faults "$2" "$from" 900)}"
    tools "$1"
    attempt "$1" BELLWETHER_TOKEN=$token BELLWETHER_ON_LOST=abort
    tried "$1" "$code" "$3" 'the end of the log could not be read' '!calling' '!goes on' '!no verdict'
    asked "$1" 'j["aborts"] == []'
    if [ "$(cat "$work/$1.tools/passed")" -gt 70 ]; then echo "it waited for longer than a minute" > "$work/$1.verdict"; fi
    kill "$server"
}

# told NAME SIGNAL TEXT [VARIABLE=VALUE…]: the signal comes when it has said TEXT, or the token command has made a file; sets code.
told() {
    local name=$1 signal=$2 text=$3 script
    shift 3
    # The shell ignores SIGINT for what it starts in the background, and a script cannot take that back.
    env --default-signal=INT NO_PROXY='*' BELLWETHER_URL="$url" BELLWETHER_KEY=ci-1 BELLWETHER_TOKEN=$token BELLWETHER_ABORT_WAIT=3 "$@" \
        "$promote" shop/web registry.example/web:1.2 > "$work/$name.out" 2> "$work/$name.err" &
    script=$!
    for _ in $(seq 100); do
        if [ -e "$work/$name.begun" ] || grep -qsF -- "$text" "$work/$name.out" "$work/$name.err"; then break; fi
        sleep 0.1
    done
    kill "-$signal" "$script"
    code=0
    wait "$script" || code=$?
}

# last NAME TEXT: what the last line begins with.
last() {
    case $(tail -n 1 "$work/$1.err") in "[canary] $2"*) ;; *) echo "the last line is another" > "$work/$1.verdict" ;; esac
}

# not_heeded SIGNAL: the release goes on, whatever was asked for.
not_heeded() {
    local id
    serve "signal-$1" '{"scenario": "never", "deaf": true}'
    told "signal-$1" "$1" 'step 2 of 3'
    id=$(journal | python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"][0])')
    tried "signal-$1" "$code" 5 "calling $id off: rollback" 'no result within 3 seconds' 'it is not known to be over'
    last "signal-$1" "the release goes on: shop/$id, $url/v1/namespaces/shop/promotions/$id"
    kill "$server"
}

# heeded ACTION LAST: what an abort leaves of the release is said.
heeded() {
    serve "signal-$1" '{"scenario": "never"}'
    told "signal-$1" TERM 'step 2 of 3' BELLWETHER_ON_ABORT="$1"
    tried "signal-$1" "$code" 5 ': Aborted'
    last "signal-$1" "$2: shop/p-"
    asked "signal-$1" "j['aborts'] == [{'action': '$1', 'reason': 'the pipeline was stopped'}]"
    kill "$server"
}

# too_late: the verdict is known, or nothing has begun.
too_late() {
    serve signal-over "{\"scenario\": \"rolledback\", \"cut\": 7, \"faults\": $(faults 502 7 900)}"
    told signal-over TERM 'asking again in 4 s'
    tried signal-over "$code" 3 ': RolledBack' '!calling' '!goes on'
    asked signal-over 'j["aborts"] == []'
    kill "$server"
    serve signal-early '{"scenario": "never"}'
    told signal-early TERM 'nothing of the kind' BELLWETHER_TOKEN_COMMAND="touch $work/signal-early.begun; exec sleep 30"
    tried signal-early "$code" 5 'nothing was started' '!goes on'
    asked signal-early 'j["created"] == 0'
    kill "$server"
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
renewed &
before_its_end &
github &
by_file &
wait
for status in 401 403 429 500; do patient "$status" & done
refused_for_good &
called_off_when_lost &
too_long &
wait
at_once &
log_lost log-lost-promoted 502 0 promoted &
log_lost log-lost-rolledback gone 3 rolledback &
log_lost log-lost-denied 401 0 promoted &
for status in gone 401 403; do started_or_not "$status" & done
redirected &
forgotten &
reused &
wild &
goes_on &
wait
for signal in INT TERM HUP; do not_heeded "$signal" & done
heeded none 'the release goes on' &
heeded pause 'the release is paused where it is' &
too_late &
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
if [ "$total" -ne 64 ]; then echo "  FAILED promote.sh: $total of 64 cases were played"; failed=$((failed + 1)); fi
printf '%-58s %4d cases %6d s    %s\n' 'examples/ci/promote.sh' "$total" $(($(date +%s) - begin)) "$([ "$failed" -eq 0 ] && echo ok || echo "$failed FAILED")"
[ "$failed" -eq 0 ]
