package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/** The part of a promotion's state that a build needs. */
class State implements Serializable {
    private static final long serialVersionUID = 1L

    private static final List KEPT = ['id', 'phase', 'result', 'reason', 'message', 'revision', 'held']

    @NonCPS
    static Map of(Map document) {
        Map state = [:]
        for (String name in KEPT) {
            state.put(name, document.get(name) == null ? null : document.get(name).toString())
        }
        state.put('seq', (document.get('seq') ?: 0) as long)
        state.put('finished', document.get('finished') as boolean)
        state.put('exitCode', document.get('exitCode') as Integer)
        state.put('weight', document.get('weight') as Integer)
        state.put('logBytes', document.get('logBytes') as Long)
        state.put('failing', failing(document.get('checks') as List))
        state.put('gates', gates(document.get('gates') as List))
        return state
    }

    /** The gates that the release has come to, or that were settled in advance: 'Waiting', 'Running', 'Open' or 'Rejected' by name. */
    @NonCPS
    private static Map gates(List gates) {
        Map states = [:]
        for (gate in gates) {
            states.put(gate.name.toString(), gate.state == null ? null : gate.state.toString())
        }
        return states
    }

    /** The checks that are not passed, with value and bound. */
    @NonCPS
    private static String failing(List checks) {
        List failing = []
        for (check in checks) {
            if (check.outcome != null && check.outcome.toString() != 'Pass') {
                String value = check.value == null ? check.outcome.toString() : check.value.toString()
                failing.add(check.name + ' ' + value + ' (' + check.bound + ')')
            }
        }
        return failing.isEmpty() ? null : failing.join(', ')
    }

    /** One sentence about the end of a promotion. */
    @NonCPS
    static String sentence(String canary, Map state) {
        return '[canary] ' + canary + ' ' + state.id + ': ' + (state.result ?: state.phase) +
            (state.message ? ', ' + state.message : '') + (state.failing && state.result != 'Promoted' ? '; failing: ' + state.failing : '')
    }

    /** Where a build keeps how much of a log it has printed. An id says nothing of the server, and two may have the same. */
    @NonCPS
    static String variable(String url, String id) {
        String server = Integer.toString(url.hashCode(), 36)
        return 'BELLWETHER_LOG_' + server.replace('-', '_') + '_' + id.replace('-', '_')
    }
}
