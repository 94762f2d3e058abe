#!/bin/sh
# Promotes an image through a Canary and waits for the verdict, with nothing but curl.
#
#   promote.sh NAMESPACE/CANARY IMAGE
#
# BELLWETHER_URL        address of the hook API
# The token, the first of these that is set:
#   BELLWETHER_TOKEN_COMMAND   a shell command that prints one; run again before the token is older than
#                              BELLWETHER_TOKEN_SECONDS (default 30), and when it was refused
#   BELLWETHER_TOKEN_FILE      a file with it, read anew for every request
#   BELLWETHER_TOKEN           the token itself, for one that outlives the promotion
#   otherwise GitHub's own, in a job with `permissions: {id-token: write}`; BELLWETHER_AUDIENCE (default bellwether)
# BELLWETHER_KEY        idempotency key: the same key is the same promotion, however often this is run, and for ever: of one
#                       that the server keeps no more, the recorded result counts
# BELLWETHER_DEADLINE   seconds until the server gives up and rolls back (default 2700)
# BELLWETHER_CONFLICT   reject (default), queue or supersede
# BELLWETHER_ON_ABORT   rollback (default), pause or none: when this script is told to stop
# BELLWETHER_ABORT_WAIT seconds to wait for the result after an abort (default 45)
# BELLWETHER_ON_LOST    leave (default) or abort: when the server is not heard of any more, or refuses the token
# BELLWETHER_JOB, _BUILD_URL, _USER, _COMMIT   who asks; optional
#
# Exit codes, the verdict's: 0 promoted, 3 rolled back, 5 aborted, 6 superseded, 8 failed.
# No verdict: 1 refused, or the API cannot be reached or does not accept the token; 2 bad input; 7 waited too long.
set -u

LONG_POLL=20    # seconds; proxies often cut at 30 or 60
PATIENCE=180    # seconds for which a token may be refused that was good before: while keys rotate
LOG_END=60      # seconds for which the end of the log is asked for when the verdict is known
FAULT="infrastructure fault, no verdict about the release:"

c2=$(printf '\302') d8=$(printf '\330') e280=$(printf '\342\200') e281=$(printf '\342\201')
c1="${c2}[$(printf '\200')-$(printf '\237')]"
marks="${e280}[$(printf '\216')$(printf '\217')$(printf '\250')-$(printf '\256')]"
isolates="${e281}[$(printf '\246')-$(printf '\251')]"

# clean: what a server or a person wrote, without control characters, marks that turn the direction of writing, and what
# GitHub would take for a command; its lines stay. Whatever is printed or sent on comes through here.
clean() {
    LC_ALL=C tr '\000-\010\013-\037\177' '[?*]' |
        LC_ALL=C sed -e "s/$c1/?/g" -e "s/$marks/?/g" -e "s/$isolates/?/g" -e "s/$d8$(printf '\234')/?/g" \
            -e 's/^\([[:space:]]*\)::/\1: :/' -e 's/##\[/# #[/g'
}

# line TEXT: the same in one line.
line() { printf '%s' "$1" | clean | tr '\t\n' '  '; }

say() { printf '[canary] %s\n' "$(line "$*")" >&2; }
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
abort_wait=${BELLWETHER_ABORT_WAIT:-45}
fits "$abort_wait" '[1-9][0-9]{0,3}' || bad "BELLWETHER_ABORT_WAIT must be a number of seconds"
token_seconds=${BELLWETHER_TOKEN_SECONDS:-30}
fits "$token_seconds" '[1-9][0-9]{0,5}' || bad "BELLWETHER_TOKEN_SECONDS must be a number of seconds"
audience=${BELLWETHER_AUDIENCE:-bellwether}
fits "$audience" '[A-Za-z0-9._~:/-]{1,200}' || bad "BELLWETHER_AUDIENCE must be a name or an address"
conflict=${BELLWETHER_CONFLICT:-reject}
case $conflict in reject | queue | supersede) ;; *) bad "BELLWETHER_CONFLICT: reject, queue or supersede" ;; esac
on_abort=${BELLWETHER_ON_ABORT:-rollback}
case $on_abort in rollback | pause | none) ;; *) bad "BELLWETHER_ON_ABORT: rollback, pause or none" ;; esac
on_lost=${BELLWETHER_ON_LOST:-leave}
case $on_lost in leave | abort) ;; *) bad "BELLWETHER_ON_LOST: leave or abort" ;; esac

umask 077
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# Tokens are kept in files and by the shell alone, because everybody may read the arguments of a process; and not in the
# environment, which other processes inherit.
if [ -n "${BELLWETHER_TOKEN_COMMAND:-}" ]; then
    from="command"
elif [ -n "${BELLWETHER_TOKEN_FILE:-}" ]; then
    from="file"
elif [ -n "${BELLWETHER_TOKEN:-}" ]; then
    from=variable
    printf '%s' "$BELLWETHER_TOKEN" > "$work/given"
elif [ -n "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" ] && [ -n "${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-}" ]; then
    from=github
    printf 'Authorization: Bearer %s\n' "$ACTIONS_ID_TOKEN_REQUEST_TOKEN" > "$work/runner"
else
    bad "a token is needed: BELLWETHER_TOKEN_COMMAND, BELLWETHER_TOKEN_FILE, BELLWETHER_TOKEN, or in GitHub id-token: write"
fi
unset BELLWETHER_TOKEN
if [ "$from" != command ]; then unset ACTIONS_ID_TOKEN_REQUEST_TOKEN; fi
if ! command -v curl > /dev/null 2>&1; then
    say "$FAULT curl is not installed"
    exit 1
fi
case $url in
    https://* | http://localhost | http://localhost[:/]* | http://127.* | "http://[::1]"*) ;;
    *) say "warning: $url is not https; the token is sent in clear text" ;;
esac

id=
met=        # the API has answered before: what fails from now on may pass
finished=
asked=
lost=       # a start may have been taken, although nobody has heard so
request=
printed=0
masked=
made=0      # when the token was made
refused=    # the token was refused, and another is needed
fresh=
denied=     # since when tokens are refused
patience=$deadline
until=$(($(now) + deadline + 60))   # the server's deadline comes first and decides

# quoted TEXT: TEXT as a JSON string.
quoted() { printf '"%s"' "$(line "$1" | sed 's/[\\"]/\\&/g')"; }

# field NAME [FILE]: a number, a word or a plain string out of the document.
field() {
    # shellcheck disable=SC2020 # three signs become ends of lines
    tr '{,}' '\n\n\n' < "${2:-$work/body}" |
        sed -n 's/^[[:space:]]*"'"$1"'"[[:space:]]*:[[:space:]]*"\{0,1\}\([^"]*\)"\{0,1\}[[:space:]]*$/\1/p' | head -n 1
}

# text NAME: a string out of the document, whatever stands in it.
text() { tr '\n' ' ' < "$work/body" | sed -En 's/.*"'"$1"'"[[:space:]]*:[[:space:]]*"(([^"\\]|\\.)*)".*/\1/p'; }

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

# run OUT COMMAND…: in the background, since a shell heeds a signal only when no command runs in the foreground; and with its
# own redirections, since what heeds the signal inherits those of the function it interrupts.
run() {
    out=$1
    shift
    "$@" > "$out" 2> "$work/error" &
    request=$!
    wait "$request"
    ran=$?
    request=
    return "$ran"
}

# fetch: curl that follows no redirect, whatever its settings say: the token is for one host.
fetch() {
    run "$work/status" curl --silent --show-error --no-location --no-location-trusted --proto '=http,https' --write-out '%{http_code}' "$@"
}

# make_token: prints nothing, and leaves a token in $work/new.
make_token() {
    case $from in
        command) run "$work/new" sh -c "$BELLWETHER_TOKEN_COMMAND" ;;
        file) cat "$BELLWETHER_TOKEN_FILE" > "$work/new" 2> "$work/error" ;;
        variable) cat "$work/given" > "$work/new" ;;
        github)
            fetch --max-time 15 --header "@$work/runner" --output "$work/minted" \
                "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=$audience" &&
                [ "$(cat "$work/status")" = 200 ] && field value "$work/minted" > "$work/new"
            ;;
    esac
}

# with_token: sees to it that $work/token is one that may be used now.
with_token() {
    fresh=
    case $from in
        command | github)
            if [ -s "$work/token" ] && [ -z "$refused" ] && [ $(($(now) - made)) -lt "$token_seconds" ]; then return 0; fi
            ;;
    esac
    : > "$work/error"
    if ! make_token; then
        why="no token could be had from the $from ($(head -c 300 "$work/error"))"
        return 1
    fi
    token=$(tr -d '\r' < "$work/new")
    rm -f "$work/new" "$work/minted"
    if ! fits "$token" '[!-~]+'; then
        why="what came from the $from is no token"
        return 1
    fi
    # Before it is used anywhere. The runner takes the line away; elsewhere it would be the leak.
    if [ "${GITHUB_ACTIONS:-}" = true ] && [ "$token" != "$masked" ]; then
        printf '::add-mask::%s\n' "$token" >&2
        masked=$token
    fi
    printf 'Authorization: Bearer %s\n' "$token" > "$work/token"
    unset token
    made=$(now)
    refused=
    fresh=yes
}

# goes_on: the last line of whoever stops watching a release that is not over.
goes_on() {
    if [ -n "$id" ]; then
        say "the release goes on: $namespace/$id, $promotion"
    elif [ -n "$asked" ]; then
        say "it may have been started all the same, with the key $key: see $url/v1/namespaces/$namespace/canaries/$canary"
    fi
}

# forgotten: the server keeps this promotion no more, and says how it ended.
forgotten() {
    recorded=$(field exitCode)
    say "$namespace/$canary: the promotion ${id:-with this key} ended at $(field finishedAt) with the result $(field result), exit code" \
        "$recorded, and is kept no more; nothing was started: $(text detail)"
    fits "$recorded" '[0-9]|[1-9][0-9]|1[0-9][0-9]' || recorded=1
    exit "$recorded"
}

# refuse WHY: asking again does not mend it.
refuse() {
    say "$1"
    return 1
}

# judge EXPECTED FAILED STATUS: 0 taken, 1 refused, 2 to be asked again, for the reason in $why.
judge() {
    if [ "$2" -ne 0 ]; then
        why="the request failed ($(head -c 300 "$work/error"))"
        # The name is not known, the certificate is refused, curl cannot do it: not at the first contact.
        case $met:$2 in
            :1 | :2 | :3 | :5 | :6 | :35 | :51 | :58 | :59 | :60 | :66 | :77 | :80 | :82 | :83 | :90 | :91 | :126 | :127)
                refuse "$FAULT $why"
                return 1
                ;;
        esac
        return 2
    fi
    case $3 in
        2??)
            if ours "$1"; then return 0; fi
            why="a page came that is not the hook API's"
            return 2
            ;;
        3??)
            why="redirected ($3) to $(header location)"
            return 2
            ;;
        408 | 425 | 429 | 5??)
            why="status $3"
            return 2
            ;;
    esac
    said=$(text detail)
    why="status $3: ${said:-$(head -c 1000 "$work/body")}"
    if ! grep -q '"code"' "$work/body"; then
        why="status $3 from something that is not the hook API"
    elif [ "$3" = 410 ] && [ "$(field code)" = expired ]; then
        forgotten
    fi
    case $met:$3 in
        :401 | :403)
            refuse "$FAULT the token is not accepted: $why"
            return 1
            ;;
        yes:401 | yes:403) return 2 ;;
        *:422)
            refuse "$why: this BELLWETHER_KEY was used for something else; give each promotion a key of its own"
            return 1
            ;;
    esac
    case $met:$why in yes:*"is not the hook API") return 2 ;; esac
    refuse "$why"
}

# fault WHY: no verdict comes of it, unless there is one already.
fault() { if [ "$finished" = true ]; then say "$*"; else say "$FAULT $*"; fi; }

# ask EXPECTED SECONDS CURL-ARGUMENTS…: asks until it is answered. Not answered in time: 7; refused: 1.
ask() {
    expected=$1
    seconds=$2
    shift 2
    pause=1
    while :; do
        : > "$work/head"
        : > "$work/body"
        if with_token; then
            if [ "$expected" = promotion ]; then asked=yes; fi
            fetch --max-time "$seconds" --header "@$work/token" --dump-header "$work/head" --output "$work/body" "$@"
            failed=$?
            status=$(cat "$work/status")
            judge "$expected" "$failed" "$status"
            judged=$?
            # A token that is refused is refused before anything is done; of all else nobody knows what became of it.
            case $judged:$status in 2:401 | 2:403) ;; 2:*) if [ -z "$id" ]; then lost=yes; fi ;; esac
        else
            status=none
            judged=2
            if [ -z "$met" ]; then
                say "$FAULT $why"
                return 1
            fi
        fi
        case $judged in
            0)
                met=yes
                denied=
                return 0
                ;;
            1)
                if [ -z "$id" ] && [ -z "$lost" ]; then asked=; fi
                return 1
                ;;
        esac
        wait_for=$pause
        case $status in
            401 | 403)
                refused=yes
                denied=${denied:-$(now)}
                if [ $(($(now) - denied)) -ge "$PATIENCE" ]; then
                    fault "the token is refused for $((PATIENCE / 60)) minutes now: $why"
                    return 1
                fi
                # A token that grew old while it was used is no trouble.
                if [ -z "$fresh" ]; then continue; fi
                ;;
            *)
                denied=
                after=$(header retry-after | grep -E '^[0-9]{1,4}$') && [ "$after" -gt "$pause" ] && wait_for=$after
                if [ "$wait_for" -gt 60 ]; then wait_for=60; fi
                ;;
        esac
        if [ $(($(now) + wait_for)) -ge "$until" ]; then
            fault "no answer in time: $why"
            return 7
        fi
        say "$why, asking again in $wait_for s"
        run /dev/null sleep "$wait_for"
        if [ "$pause" -lt 15 ]; then pause=$((pause * 2)); fi
    done
}

start() {
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
        clean < "$work/part"
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

# over: exits with the promotion's code, and says what an abort has left of the release.
over() {
    say "$namespace/$canary $id: $phase"
    case $phase:$on_abort:${stopping:-} in
        Aborted:none:yes) goes_on ;;
        Aborted:pause:yes) say "the release is paused where it is: $namespace/$id, $promotion" ;;
    esac
    exit "${code:-1}"
}

# Waits for the result, and exits with its code.
follow() {
    while :; do
        if [ "$finished" = true ] && [ "$until" -gt $(($(now) + LOG_END)) ]; then until=$(($(now) + LOG_END)); fi
        # The end of a log is no reason to lose a verdict.
        print_log || {
            gave_up=$?
            if [ "$finished" != true ]; then return "$gave_up"; fi
            say "the end of the log could not be read"
        }
        if [ "$finished" = true ]; then
            over
        fi
        if [ "$(now)" -ge "$until" ]; then
            say "no result within $patience seconds"
            return 7
        fi
        before=$seq
        began=$(now)
        ask promotion $((LONG_POLL + 15)) "$promotion?waitSeconds=$LONG_POLL&afterSeq=$seq" || return
        remember
        if [ "$seq" = "$before" ] && [ $(($(now) - began)) -lt 2 ]; then sleep 2; fi
    done
}

# order_abort REASON: exits with the promotion's code if it ends in time.
order_abort() {
    stopping=yes
    denied=
    patience=$abort_wait
    until=$(($(now) + patience))
    # The request that was under way may have been taken. Only asking again with its key tells.
    if [ -z "$id" ]; then
        lost=$asked
        start || return
    fi
    say "calling $id off: $on_abort"
    printf '{"action": "%s", "reason": "%s"}' "$on_abort" "$1" > "$work/abort"
    ask any 30 --request POST --header 'Content-Type: application/json' --data-binary "@$work/abort" "$promotion/abort" || return
    follow
}

# shellcheck disable=SC2329 # called by trap
call_off() {
    trap '' INT TERM HUP
    if [ -n "$request" ]; then kill "$request" 2> /dev/null; fi
    if [ -z "$asked" ]; then
        say "stopped; nothing was started"
        exit 5
    fi
    # What is over cannot be called off: only the end of its log is missing.
    if [ "$finished" = true ]; then over; fi
    order_abort "the pipeline was stopped"
    say "it is not known to be over"
    goes_on
    exit 5
}

# lose CODE: nobody watches from here on.
lose() {
    if [ "$on_lost" = abort ] && [ -n "$asked" ]; then order_abort "the pipeline lost sight of it"; fi
    goes_on
    exit "$1"
}
trap call_off INT TERM HUP

requester='"kind": "script"'
if [ -n "${BELLWETHER_JOB:-}" ]; then requester="$requester, \"job\": $(quoted "$BELLWETHER_JOB")"; fi
if [ -n "${BELLWETHER_BUILD_URL:-}" ]; then requester="$requester, \"buildUrl\": $(quoted "$BELLWETHER_BUILD_URL")"; fi
if [ -n "${BELLWETHER_USER:-}" ]; then requester="$requester, \"user\": $(quoted "$BELLWETHER_USER")"; fi
if [ -n "${BELLWETHER_COMMIT:-}" ]; then requester="$requester, \"commit\": $(quoted "$BELLWETHER_COMMIT")"; fi
printf '{"image": "%s", "requester": {%s}, "policy": {"conflict": "%s", "onAbort": "%s", "deadlineSeconds": %s}}' \
    "$image" "$requester" "$conflict" "$on_abort" "$deadline" > "$work/wish"

start || lose "$?"
say "$namespace/$canary $id: $phase, $promotion"
follow
lose "$?"
