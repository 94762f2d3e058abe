#!/bin/sh
# Promotes an image through a Canary and waits for the verdict, with nothing but curl.
#
#   promote.sh NAMESPACE/CANARY IMAGE
#
# BELLWETHER_URL        address of the hook API
# BELLWETHER_TOKEN      bearer token, or BELLWETHER_TOKEN_FILE: a file with it
# BELLWETHER_KEY        idempotency key: the same key is the same promotion, however often this is run
# BELLWETHER_DEADLINE   seconds until the server gives up and rolls back (default 2700)
# BELLWETHER_CONFLICT   reject (default), queue or supersede
# BELLWETHER_ON_ABORT   rollback (default), pause or none: when this script is told to stop
# BELLWETHER_JOB, _BUILD_URL, _USER, _COMMIT   who asks; optional
#
# Exit codes: 0 promoted, 3 rolled back, 5 aborted, 6 superseded, 8 failed; 1 error, 2 bad input, 7 waited too long.
set -u

LONG_POLL=20    # seconds; proxies often cut at 30 or 60
ABORT_WAIT=45   # seconds to wait for the result after an abort

say() { printf '[canary] %s\n' "$*" >&2; }
bad() { say "$*"; exit 2; }
now() { date +%s; }

# fits TEXT PATTERN: whether the whole of it does; grep alone is content with one line of several.
fits() {
    case $1 in *'
'*) return 1 ;; esac
    printf '%s\n' "$1" | LC_ALL=C grep -Eqx "$2"
}
is_name() { fits "$1" '[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?'; }

[ $# -eq 2 ] || bad "usage: promote.sh NAMESPACE/CANARY IMAGE"
namespace=${1%%/*}
canary=${1#*/}
image=$2
if ! is_name "$namespace" || ! is_name "$canary"; then bad "not NAMESPACE/CANARY: $1"; fi
fits "$image" '[A-Za-z0-9._:/@-]{1,500}' || bad "not an image: $image"
url=${BELLWETHER_URL:-}
url=${url%/}
case $url in http://?* | https://?*) ;; *) bad "BELLWETHER_URL is needed" ;; esac
key=${BELLWETHER_KEY:-}
fits "$key" '[!-~]{1,200}' || bad "BELLWETHER_KEY is needed: 1 to 200 signs, no spaces"
deadline=${BELLWETHER_DEADLINE:-2700}
fits "$deadline" '[1-9][0-9]{1,5}' || bad "BELLWETHER_DEADLINE must be a number of seconds"
conflict=${BELLWETHER_CONFLICT:-reject}
case $conflict in reject | queue | supersede) ;; *) bad "BELLWETHER_CONFLICT: reject, queue or supersede" ;; esac
on_abort=${BELLWETHER_ON_ABORT:-rollback}
case $on_abort in rollback | pause | none) ;; *) bad "BELLWETHER_ON_ABORT: rollback, pause or none" ;; esac

umask 077
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# In a file, because everybody may read the arguments of a process.
if [ -n "${BELLWETHER_TOKEN_FILE:-}" ]; then
    token=$(cat "$BELLWETHER_TOKEN_FILE") || bad "cannot read BELLWETHER_TOKEN_FILE"
else
    token=${BELLWETHER_TOKEN:-}
fi
[ -n "$token" ] || bad "BELLWETHER_TOKEN or BELLWETHER_TOKEN_FILE is needed"
printf 'Authorization: Bearer %s\n' "$token" > "$work/token"
unset token BELLWETHER_TOKEN

id=
asked=
request=
printed=0
until=$(($(now) + deadline + 60))   # the server's deadline comes first and decides

# quoted TEXT: TEXT as a JSON string.
quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\000-\037' | sed 's/[\\"]/\\&/g')"; }

# field NAME: a number, a word or a plain string out of the document.
field() {
    # shellcheck disable=SC2020 # three signs become ends of lines
    tr '{,}' '\n\n\n' < "$work/body" |
        sed -n 's/^[[:space:]]*"'"$1"'"[[:space:]]*:[[:space:]]*"\{0,1\}\([^"]*\)"\{0,1\}[[:space:]]*$/\1/p' | head -n 1
}

# header NAME: a header of the answer; servers differ in how they write names.
header() {
    tr -d '\r' < "$work/head" | awk -v name="$1" '
        { at = index($0, ":") }
        at && tolower(substr($0, 1, at - 1)) == name { value = substr($0, at + 1); sub(/^ */, "", value); print value; exit }'
}

# ours EXPECTED: whether the answer is the API's, and not a page of something on the way.
ours() {
    case $1 in
        log) header x-text-size | grep -Eq '^[0-9]+$' ;;
        promotion) [ -n "$(field id)" ] && [ -n "$(field phase)" ] && [ -n "$(field finished)" ] && grep -q '}[[:space:]]*$' "$work/body" ;;
        *) ! grep -q '^[[:space:]]*<' "$work/body" ;;
    esac
}

# ask EXPECTED SECONDS CURL-ARGUMENTS…: asks until it is answered. Not answered in time: 7; refused: 1.
ask() {
    expected=$1
    seconds=$2
    shift 2
    pause=1
    while :; do
        : > "$work/head"
        : > "$work/body"
        # In the background, since a shell heeds a signal only when no command runs in the foreground.
        curl --silent --show-error --max-time "$seconds" --header "@$work/token" --dump-header "$work/head" \
            --output "$work/body" --write-out '%{http_code}' "$@" > "$work/status" 2> "$work/error" &
        request=$!
        wait "$request"
        failed=$?
        request=
        status=$(cat "$work/status")
        wait_for=$pause
        case $failed:$status in
            0:2??) if ours "$expected"; then return 0; fi; why="a page came that is not the hook API's" ;;
            0:408 | 0:425 | 0:429 | 0:5?? | 0:3??)
                why="status $status"
                after=$(header retry-after | grep -E '^[0-9]{1,4}$') && [ "$after" -gt "$pause" ] && wait_for=$after
                if [ "$wait_for" -gt 60 ]; then wait_for=60; fi
                ;;
            0:4??)
                if grep -q '"code"' "$work/body" || [ -z "$id" ]; then
                    say "status $status: $(tr -d '\000-\037' < "$work/body" | head -c 1000)"
                    return 1
                fi
                why="status $status from something that is not the hook API"
                ;;
            *) why="the request failed ($(tr -d '\000-\037' < "$work/error" | head -c 300))" ;;
        esac
        if [ $(($(now) + wait_for)) -ge "$until" ]; then
            say "no answer in time: $why"
            return 7
        fi
        say "$why, asking again in $wait_for s"
        sleep "$wait_for" &
        request=$!
        wait "$request"
        request=
        if [ "$pause" -lt 15 ]; then pause=$((pause * 2)); fi
    done
}

start() {
    asked=yes
    ask promotion 30 --request POST --header "Idempotency-Key: $key" --header 'Content-Type: application/json' \
        --data-binary "@$work/wish" "$url/v1/namespaces/$namespace/canaries/$canary/promotions" || return
    id=$(field id)
    promotion=$url/v1/namespaces/$namespace/promotions/$id
    remember
}

# The document is needed again after the log has been read.
remember() {
    seq=$(field seq)
    phase=$(field phase)
    finished=$(field finished)
    code=$(field exitCode)
    log_bytes=$(field logBytes)
}

# Prints whole lines only: the end of a log may be cut anywhere while it is written.
print_log() {
    tries=0
    while [ "$printed" -lt "${log_bytes:-0}" ]; do
        ask log 30 "$promotion/log?start=$printed" || return
        size=$(header x-text-size)
        total=$(($(wc -c < "$work/body")))
        if [ "$finished" = true ] && [ "$(header x-more-data)" != true ]; then
            cp "$work/body" "$work/part"
        else
            head -n "$(($(wc -l < "$work/body")))" "$work/body" > "$work/part"
        fi
        part=$(($(wc -c < "$work/part")))
        cat "$work/part"
        if [ "$part" -gt 0 ]; then
            printed=$((size - (total - part)))
            tries=0
        fi
        if [ "$finished" != true ]; then return 0; fi
        tries=$((tries + 1))
        if [ "$tries" -gt 10 ]; then
            say "the end of the log did not come"
            return 0
        fi
        if [ "$printed" -lt "$log_bytes" ]; then sleep 1; fi
    done
}

# Waits for the result, and exits with its code.
follow() {
    while :; do
        print_log || return
        if [ "$finished" = true ]; then
            say "$1 $id: $phase"
            exit "${code:-1}"
        fi
        if [ "$(now)" -ge "$until" ]; then return 7; fi
        before=$seq
        began=$(now)
        ask promotion $((LONG_POLL + 15)) "$promotion?waitSeconds=$LONG_POLL&afterSeq=$seq" || return
        remember
        if [ "$seq" = "$before" ] && [ $(($(now) - began)) -lt 2 ]; then sleep 2; fi
    done
}

# shellcheck disable=SC2329 # called by trap
call_off() {
    trap '' INT TERM HUP
    if [ -n "$request" ]; then kill "$request" 2> /dev/null; fi
    if [ -z "$asked" ]; then exit 5; fi
    until=$(($(now) + ABORT_WAIT))
    # The request that was under way may have been taken. Only asking again with its key tells.
    if [ -z "$id" ]; then start || exit 1; fi
    say "calling $id off: $on_abort"
    printf '{"action": "%s", "reason": "the pipeline was stopped"}' "$on_abort" > "$work/abort"
    ask any 30 --request POST --header 'Content-Type: application/json' --data-binary "@$work/abort" "$promotion/abort" || exit 1
    follow "$namespace/$canary"
    say "$id is not over yet; it ends without this pipeline"
    exit 5
}
trap call_off INT TERM HUP

requester='"kind": "script"'
if [ -n "${BELLWETHER_JOB:-}" ]; then requester="$requester, \"job\": $(quoted "$BELLWETHER_JOB")"; fi
if [ -n "${BELLWETHER_BUILD_URL:-}" ]; then requester="$requester, \"buildUrl\": $(quoted "$BELLWETHER_BUILD_URL")"; fi
if [ -n "${BELLWETHER_USER:-}" ]; then requester="$requester, \"user\": $(quoted "$BELLWETHER_USER")"; fi
if [ -n "${BELLWETHER_COMMIT:-}" ]; then requester="$requester, \"commit\": $(quoted "$BELLWETHER_COMMIT")"; fi
printf '{"image": "%s", "requester": {%s}, "policy": {"conflict": "%s", "onAbort": "%s", "deadlineSeconds": %s}}' \
    "$image" "$requester" "$conflict" "$on_abort" "$deadline" > "$work/wish"

start || exit
say "$namespace/$canary $id: $phase, $promotion"
follow "$namespace/$canary"
exit
