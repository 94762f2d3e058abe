package dev.bellwether

/**
 * One promotion, followed from its start to its result.
 *
 * It holds an id, a number of printed bytes and the last state: all that is needed to go on after a restart.
 */
class Promotion implements Serializable {
    private static final long serialVersionUID = 1L

    /** How often the end of a log is asked for that another replica does not have yet. */
    private static final int LOG_TRIES = 10
    /** Milliseconds for which one lookup of the token serves, unless it is refused before. */
    private static final long SESSION = 600000L
    /** Seconds of quiet after each change in turn: so 45 minutes with a change every minute stay below 200 steps of the build. */
    private static final List QUIET = [1, 2, 5, 15, 40, 80]

    final Hook hook
    final Object steps
    final String namespace
    String id
    long printed = 0
    Map state = [:]
    private Map starting = [:]
    private int changes = 0
    private int hurried = 0

    Promotion(Hook hook, String namespace, String id) {
        this.hook = hook
        this.steps = hook.steps
        this.namespace = namespace
        this.id = id
    }

    /** Starts it, or finds it again: the same key with the same body is the same promotion. `order` has `name`, `key`, `body` and `part`. */
    void start(Map order, long until) {
        starting = [verb: 'POST', path: root() + '/canaries/' + order.name + '/promotions', body: order.body, key: order.key,
            expects: 'promotion', until: until, lost: starting.sent == true, sent: starting.sent == true]
        Map answer = hook.ask(starting)
        take(answer)
        id = state.id
        if (id) {
            recall()
            steps.env."${Memory.VARIABLE}" = Memory.with(steps.env."${Memory.VARIABLE}" as String, hook.url, namespace, order.name as String, id,
                steps.env.STAGE_NAME as String, order.part as String)
            note()
        }
    }

    /** Goes on where another call in this build stopped printing. */
    void recall() {
        printed = (steps.env."${Memory.logVariable(hook.url, id)}" ?: '0') as long
    }

    private void take(Map answer) {
        state = answer.expired ? State.expired(answer.document as Map, id) : State.of(answer.document as Map)
        note()
    }

    /** Lets the steps that follow in this build know that it is over. */
    private void note() {
        String kept = steps.env."${Memory.VARIABLE}"
        if (id && kept && state.finished) {
            steps.env."${Memory.VARIABLE}" = Memory.over(kept, hook.url, namespace, id)
        }
    }

    /** Whether the server may have heard of it, although no answer came. */
    boolean mayHaveStarted() {
        return id != null || starting.sent
    }

    /** Prints the log and waits until the promotion is over or `until` has come. */
    Map follow(long until) {
        if (!state) {
            look(until)
        }
        watch(null, until)
        if (state.finished) {
            printEnd(until)
        }
        return state
    }

    /** Waits until the release has come to `gate`, or is over, or `until` has come; the gate's state, null if it is not there. */
    String untilAt(String gate, long until) {
        if (!state) {
            look(until)
        }
        watch(gate, until)
        return (state.gates as Map).get(gate)
    }

    /** Reads the state as it is. */
    void look(long until) {
        take(hook.ask(verb: 'GET', path: path(), expects: 'promotion', until: until))
    }

    /** Looks again and again, and prints the log unless a gate is waited for. */
    private void watch(String gate, long until) {
        Map trouble = [:]
        while (!reached(gate) && System.currentTimeMillis() < until) {
            Map request = [verb: 'GET', path: path(), until: until, expects: 'promotion']
            Map answer = hook.unready(request)
            if (answer == null) {
                answer = hook.withToken { session(gate, until) }
            }
            if (answer.outcome == 'taken') {
                trouble = [:]
            } else {
                hook.bear(answer, request, trouble)
            }
        }
    }

    boolean reached(String gate) {
        return state.finished || (gate != null && (state.gates as Map).get(gate))
    }

    /** Looks with one token until something fails, the token has grown old, or there is nothing to wait for; the last answer. */
    Map session(String gate, long until) {
        long end = Math.min(until, System.currentTimeMillis() + SESSION)
        Map answer = [outcome: 'taken']
        int taken = 0
        while (answer.outcome == 'taken') {
            if (gate == null && !state.finished && (state.logBytes == null || printed < (state.logBytes as long))) {
                answer = printPart(until)
                taken++
            }
            if (answer.outcome == 'taken') {
                if (reached(gate) || System.currentTimeMillis() >= end) {
                    return answer
                }
                answer = next(until)
                taken++
            }
        }
        answer.stale = answer.denied && taken > 1
        return answer
    }

    /** Waits for the next state, and then for a moment, so that changes that come together are told together. */
    private Map next(long until) {
        int left = Math.max(1L, Math.min(Hook.LONG_POLL_SECONDS as long, (until - System.currentTimeMillis()).intdiv(1000) as long)) as int
        long began = System.currentTimeMillis()
        Map answer = hook.attempt(verb: 'GET', path: path() + '?waitSeconds=' + left + '&afterSeq=' + (state.seq ?: 0), waitSeconds: left,
            expects: 'promotion', until: until)
        if (answer.outcome != 'taken') {
            return answer
        }
        Object before = state.seq
        take(answer)
        if (state.finished) {
            return answer
        }
        int quiet = 0
        if (state.seq != before) {
            quiet = QUIET[Math.min(changes, QUIET.size() - 1)] as int
            changes++
        } else if (System.currentTimeMillis() - began < 1000) {
            // Something on the way answers long polls at once; do not ask in a tight loop.
            quiet = Math.min(60, 2 + hurried * 2)
            hurried++
        }
        quiet = Math.min(quiet as long, (until - System.currentTimeMillis()).intdiv(1000) as long) as int
        if (quiet > 0) {
            steps.sleep(time: quiet, unit: 'SECONDS')
        }
        return answer
    }

    /** Calls it off and waits until `until` for its result. */
    Map callOff(String action, String reason, long until) {
        String body = Arguments.json([action: action, reason: Arguments.words(reason)])
        steps.echo('[canary] calling ' + id + ' off: ' + action)
        Map answer = hook.ask(verb: 'POST', path: path() + '/abort', body: body, until: until)
        if (answer.expired) {
            take(answer)
        }
        return follow(until)
    }

    /** Approves or rejects a gate; fails the step when that is refused, or is not answered until `until`. */
    void settle(String gate, boolean approved, String comment, String submitter, long until) {
        String body = Arguments.decision(gate, comment, submitter)
        // The key makes it one order, however often the request has to be sent again.
        Map answer = hook.ask(verb: 'POST', path: path() + (approved ? '/approve' : '/reject'), body: body,
            key: 'gate-' + System.currentTimeMillis(), expects: 'accepted', until: until)
        if (answer.expired) {
            take(answer)
            steps.error('[canary] not ' + (approved ? 'approved ' : 'rejected ') + gate + ': ' + id + ' is over: ' + state.result + ', ' + state.message)
        }
        Map accepted = answer.document as Map
        if (accepted.command == null) {
            String result = Text.line((accepted.promotion as Map)?.result)
            if (!approved || result != 'Promoted') {
                steps.error('[canary] not ' + (approved ? 'approved ' : 'rejected ') + gate + ': ' + id + ' is over: ' + result)
            }
            steps.echo('[canary] ' + id + ' is over: Promoted; nothing is left to be said at ' + gate)
            return
        }
        String outcome = outcomeOf(accepted.command as String, until)
        String what = (approved ? 'approved ' : 'rejected ') + gate + ' of ' + id
        boolean answered = outcome != null
        outcome = outcome ?: accepted.command + ' is on record, and was not answered in time'
        if (outcome != 'done') {
            steps.error('[canary] ' + (answered ? '' : Hook.FAULT) + 'not ' + what + ': ' + Text.line(outcome))
        }
        steps.echo('[canary] ' + what)
    }

    /** What became of an approval or a rejection, when it is answered; null if `until` has come before. */
    String outcomeOf(String name, long until) {
        while (true) {
            long began = System.currentTimeMillis()
            int seconds = Math.max(1L, Math.min(Hook.LONG_POLL_SECONDS as long, (until - began).intdiv(1000) as long)) as int
            Map answer = hook.ask(verb: 'GET', path: root() + '/approvals/' + name + '?waitSeconds=' + seconds,
                waitSeconds: seconds, expects: 'order', until: until)
            String outcome = (answer.document as Map).outcome
            if (outcome != null) {
                return outcome
            }
            long now = System.currentTimeMillis()
            if (now >= until) {
                return null
            }
            if (now - began < 1000) {
                // Something on the way answers long polls at once; do not ask in a tight loop.
                steps.sleep(time: 2, unit: 'SECONDS')
            }
        }
    }

    /** Prints what there is of the log by now; the answer, of which nothing is printed if it was not taken. */
    private Map printPart(long until) {
        Map answer = hook.attempt(logRequest(until))
        if (answer.outcome == 'taken' && !answer.expired) {
            tell(answer)
        }
        return answer
    }

    /** Prints the rest of the log of a promotion that is over. */
    private void printEnd(long until) {
        int tries = 0
        while (state.logBytes == null || printed < (state.logBytes as long)) {
            Map answer = hook.ask(logRequest(until))
            if (answer.expired) {
                return
            }
            boolean moved = tell(answer)
            if (state.logBytes == null && !answer.more) {
                return
            }
            tries = moved ? 0 : tries + 1
            if (tries >= LOG_TRIES || System.currentTimeMillis() >= until) {
                steps.echo('[canary] the end of the log did not come')
                return
            }
            if (!moved) {
                steps.sleep(time: 1, unit: 'SECONDS')
            }
        }
    }

    private Map logRequest(long until) {
        return [verb: 'GET', path: path() + '/log?start=' + printed, expects: 'log', until: until]
    }

    private boolean tell(Map answer) {
        Map part = Lines.whole(answer.body as String, printed, answer.size as long, state.finished && !answer.more)
        boolean moved = part.next > printed
        if (part.lost > 0) {
            steps.echo('[canary] ' + part.lost + ' bytes of the log are no longer kept')
        }
        if (part.text != null) {
            steps.echo(Text.clean(part.text))
        }
        printed = part.next as long
        return moved
    }

    /** Lets another call in the same build go on where this one stopped printing. */
    void remember() {
        if (id && printed > 0) {
            steps.env."${Memory.logVariable(hook.url, id)}" = printed.toString()
        }
    }

    /** Where it can be seen what goes on when this build watches no more. */
    String goesOn() {
        return id ? 'the release goes on: ' + namespace + '/' + id + ', ' + link()
            : 'it may have been started all the same; see ' + hook.url + (starting.path as String).replace('/promotions', '')
    }

    String link() {
        return hook.url + path()
    }

    String root() {
        return '/v1/namespaces/' + namespace
    }

    String path() {
        return root() + '/promotions/' + id
    }
}
