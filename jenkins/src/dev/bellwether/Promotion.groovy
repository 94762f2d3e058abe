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

    final Hook hook
    final Object steps
    final String namespace
    String id
    long printed = 0
    Map state = [:]
    private Map starting = [:]

    Promotion(Hook hook, String namespace, String id) {
        this.hook = hook
        this.steps = hook.steps
        this.namespace = namespace
        this.id = id
    }

    /** Starts it, or finds it again: the same key with the same body is the same promotion. */
    void start(String canary, String key, String body, long until) {
        starting = [verb: 'POST', path: root() + '/canaries/' + canary + '/promotions', body: body, key: key,
            expects: 'promotion', until: until]
        Map answer = hook.ask(starting)
        state = State.of(answer.document as Map)
        id = state.id
        printed = (steps.env."${State.variable(hook.url, id)}" ?: '0') as long
    }

    /** Whether the server may have heard of it, although no answer came. */
    boolean mayHaveStarted() {
        return id != null || starting.sent
    }

    /** Prints the log and waits until the promotion is over or `until` has come. */
    Map follow(long until) {
        if (!state) {
            look(0, until)
        }
        while (true) {
            printLog(until)
            long now = System.currentTimeMillis()
            if (state.finished || now >= until) {
                return state
            }
            look(Math.max(1L, Math.min(Hook.LONG_POLL_SECONDS as long, (until - now).intdiv(1000) as long)) as int, until)
        }
    }

    /** Waits until the release has come to `gate`, or is over, or `until` has come; the gate's state, null if it is not there. */
    String untilAt(String gate, long until) {
        if (!state) {
            look(0, until)
        }
        while (!(state.gates as Map).get(gate) && !state.finished && System.currentTimeMillis() < until) {
            look(Hook.LONG_POLL_SECONDS, until)
        }
        return (state.gates as Map).get(gate)
    }

    /** Reads the state, with `seconds` not before it has changed. */
    void look(int seconds, long until) {
        String query = seconds > 0 ? '?waitSeconds=' + seconds + '&afterSeq=' + (state.seq ?: 0) : ''
        long began = System.currentTimeMillis()
        Map answer = hook.ask(verb: 'GET', path: path() + query, waitSeconds: seconds, expects: 'promotion',
            until: until, known: true)
        Map next = State.of(answer.document as Map)
        boolean changed = next.seq != state.seq
        state = next
        if (seconds > 0 && !changed && !state.finished && System.currentTimeMillis() - began < 1000) {
            // Something on the way answers long polls at once; do not ask in a tight loop.
            steps.sleep(time: 2, unit: 'SECONDS')
        }
    }

    /** Calls it off and waits until `until` for its result; says what came of it and never fails. */
    Map callOff(String action, String reason, long until) {
        String body = Arguments.json([action: action, reason: Arguments.words(reason)])
        steps.echo('[canary] calling ' + id + ' off: ' + action)
        hook.ask(verb: 'POST', path: path() + '/abort', body: body, until: until, known: true)
        return follow(until)
    }

    /** Approves or rejects a gate; fails the step when that is refused, or is not answered until `until`. */
    void settle(String gate, boolean approved, String comment, long until) {
        String body = Arguments.json([gate: gate, comment: Arguments.words(comment)])
        // The key makes it one order, however often the request has to be sent again.
        Map answer = hook.ask(verb: 'POST', path: path() + (approved ? '/approve' : '/reject'), body: body,
            key: 'gate-' + System.currentTimeMillis(), expects: 'accepted', until: until, known: true)
        Map accepted = answer.document as Map
        if (accepted.command == null) {
            String result = (accepted.promotion as Map)?.result
            if (!approved || result != 'Promoted') {
                steps.error('[canary] not ' + (approved ? 'approved ' : 'rejected ') + gate + ': ' + id + ' is over: ' + result)
            }
            steps.echo('[canary] ' + id + ' is over: Promoted; nothing is left to be said at ' + gate)
            return
        }
        String outcome = outcomeOf(accepted.command as String, until)
        String what = (approved ? 'approved ' : 'rejected ') + gate + ' of ' + id
        if (outcome != 'done') {
            steps.error('[canary] not ' + what + ': ' + outcome)
        }
        steps.echo('[canary] ' + what)
    }

    /** What became of an approval or a rejection, when it is answered or `until` has come. */
    String outcomeOf(String name, long until) {
        while (true) {
            long began = System.currentTimeMillis()
            int seconds = Math.max(1L, Math.min(Hook.LONG_POLL_SECONDS as long, (until - began).intdiv(1000) as long)) as int
            Map answer = hook.ask(verb: 'GET', path: root() + '/approvals/' + name + '?waitSeconds=' + seconds,
                waitSeconds: seconds, expects: 'order', until: until, known: true)
            String outcome = (answer.document as Map).outcome
            if (outcome != null) {
                return outcome
            }
            long now = System.currentTimeMillis()
            if (now >= until) {
                return name + ' is on record, and was not answered in time'
            }
            if (now - began < 1000) {
                // Something on the way answers long polls at once; do not ask in a tight loop.
                steps.sleep(time: 2, unit: 'SECONDS')
            }
        }
    }

    void printLog(long until) {
        int tries = 0
        while (state.logBytes == null || printed < (state.logBytes as long)) {
            Map answer = hook.ask(verb: 'GET', path: path() + '/log?start=' + printed, expects: 'log', until: until, known: true)
            boolean complete = state.finished && !answer.more
            Map part = Lines.whole(answer.body as String, printed, answer.size as long, complete)
            boolean moved = part.next > printed
            if (part.lost > 0) {
                steps.echo('[canary] ' + part.lost + ' bytes of the log are no longer kept')
            }
            if (part.text != null) {
                steps.echo(part.text)
            }
            printed = part.next
            if (!state.finished || (state.logBytes == null && complete)) {
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

    /** Lets another call in the same build go on where this one stopped printing. */
    void remember() {
        if (id && printed > 0) {
            steps.env."${State.variable(hook.url, id)}" = printed.toString()
        }
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
