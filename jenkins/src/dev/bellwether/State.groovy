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
            state.put(name, document.get(name) == null ? null : Text.line(document.get(name)))
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

    /** What the server still knows of a promotion that it has forgotten: how it ended, and when. */
    @NonCPS
    static Map expired(Map problem, String id) {
        Map state = of([id: problem.get('id') ?: id, phase: problem.get('result'), result: problem.get('result'), finished: true,
            exitCode: problem.get('exitCode'), logBytes: 0, checks: [], gates: []])
        state.put('expired', true)
        state.put('finishedAt', problem.get('finishedAt') == null ? null : Text.line(problem.get('finishedAt')))
        state.put('message', 'ended at ' + (state.finishedAt ?: 'a time that is not known') + ' with exit code ' + state.exitCode +
            ', and is kept no more; nothing was started' + (problem.get('detail') ? ': ' + Text.line(problem.get('detail')) : ''))
        return state
    }

    /** Whether the release is what runs now. */
    @NonCPS
    static boolean succeeded(Map state) {
        return state.get('expired') ? state.get('exitCode') == 0 : state.get('result') == 'Promoted'
    }

    /** The gates that the release has come to, or that were settled in advance: 'Waiting', 'Running', 'Open' or 'Rejected' by name. */
    @NonCPS
    private static Map gates(List gates) {
        Map states = [:]
        for (gate in gates) {
            states.put(Text.line(gate.name), gate.state == null ? null : Text.line(gate.state))
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
                failing.add(Text.line(check.name + ' ' + value + ' (' + check.bound + ')'))
            }
        }
        return failing.isEmpty() ? null : failing.join(', ')
    }

    /** One sentence about the end of a promotion. */
    @NonCPS
    static String sentence(String canary, Map state) {
        return '[canary] ' + canary + ' ' + state.id + ': ' + (state.result ?: state.phase) +
            (state.message ? ', ' + state.message : '') + (state.failing && !succeeded(state) ? '; failing: ' + state.failing : '')
    }
}
