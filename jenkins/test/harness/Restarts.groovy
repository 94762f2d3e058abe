package harness

/** Restarts, hard kills, failures and aborts at every step in turn. */
class Restarts {
    static void run(Suite suite) {
        ['promoted', 'rolledback', 'aborted'].each { scenario ->
            suite.group("Jenkins restarts at every step: ${scenario}") {
                Build calm = suite.play([scenario: scenario, cut: 2])
                eachStep(calm) { int step ->
                    ['restart-before', 'restart-after'].each { happens ->
                        suite.check("${happens} of step ${step}, ${calm.steps[step - 1]}") {
                            suite.same(suite.play([scenario: scenario, cut: 2], Suite.PROMOTE) { it.plan = [(step): happens] }, calm)
                        }
                    }
                }
                suite.check('restarts at every third step of one build') {
                    suite.same(suite.play([scenario: scenario, cut: 2], Suite.PROMOTE) { it.plan = (1..300).findAll { it % 3 == 2 }.collectEntries { [it, 'restart-after'] } }, calm)
                }
            }
        }
        ['promoted', 'rolledback'].each { scenario ->
            suite.group("killed at every step, run again with its key: ${scenario}") {
                Build calm = suite.play([scenario: scenario, cut: 2])
                eachStep(calm) { int step ->
                    suite.check("killed at step ${step}, ${calm.steps[step - 1]}") {
                        Build killed = suite.play([scenario: scenario, cut: 2], Suite.PROMOTE) { it.plan = [(step): 'kill'] }
                        assert killed.killed && calm.logLines().take(killed.logLines().size()) == killed.logLines()
                        suite.same(suite.again(Suite.PROMOTE) { }, calm)
                    }
                }
            }
        }
        suite.group('something fails at every step, with retry in the build') {
            String pipeline = "retry(2) {\n${Suite.PROMOTE}\n}"
            Build calm = suite.play([scenario: 'promoted', cut: 2], pipeline)
            eachStep(calm) { int step ->
                if (calm.steps[step - 1] != 'echo') {
                    suite.check("step ${step}, ${calm.steps[step - 1]}") {
                        suite.same(suite.play([scenario: 'promoted', cut: 2], pipeline) { it.plan = [(step): 'fail'] }, calm)
                    }
                }
            }
        }
        suite.group('aborted at every step') {
            Build calm = suite.play([scenario: 'promoted', cut: 2])
            eachStep(calm) { int step ->
                ['abort', 'abort-after'].each { happens ->
                    suite.check("${happens} at step ${step}, ${calm.steps[step - 1]}") {
                        aborted(suite, suite.play([scenario: 'promoted', cut: 2], Suite.PROMOTE) { it.plan = [(step): happens] }, calm)
                    }
                }
            }
            suite.check('aborted before anything was asked for') {
                Build build = suite.play([scenario: 'promoted'], "timeout(time: 1) {\nsleep(time: 90)\n${Suite.PROMOTE}\n}")
                assert build.result == 'ABORTED' && suite.server.journal().created == 0
            }
            suite.check('aborted again and again') {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.plan = (8..400).collectEntries { [it, 'abort'] } }
                suite.sound(build)
                assert build.result == 'ABORTED' && build.steps.size() < 60
            }
            suite.check('aborted while the way is disturbed') {
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE) { it.plan = [12: 'abort']; it.faults = [5: '503', 6: 'lost', 7: '429'] }
                suite.sound(build)
                assert build.result == 'ABORTED' && suite.server.journal().aborts.size() >= 1
                assert build.logLines() == suite.serverLines()
            }
        }
        suite.group('Jenkins is down until the time is over') {
            late(suite)
        }
        suite.group('timeouts') {
            ['rollback', 'pause', 'none'].each { action ->
                suite.check("timeout around it, ${action}") {
                    Build build = suite.play([scenario: 'never'], "timeout(time: 5) {\n${Suite.PROMOTE}, onAbort: '${action}'\n}")
                    suite.sound(build)
                    assert build.result == 'ABORTED' && suite.server.journal().aborts*.action == [action]
                    assert build.printed.last().contains('Aborted') && build.logLines() == suite.serverLines()
                }
            }
            suite.check('a server that does not call off in time') {
                Build build = suite.play([scenario: 'never', deaf: true], "timeout(time: 5) {\n${Suite.PROMOTE}\n}")
                suite.sound(build)
                assert build.result == 'ABORTED' && build.printed.last().contains('is not over yet')
            }
            suite.check('a server that hangs when the timeout comes') {
                Build build = suite.play([scenario: 'never'], "timeout(time: 5) {\n${Suite.PROMOTE}\n}") { it.faults = (10..500).collectEntries { [it, 'hang'] } }
                suite.sound(build)
                assert build.result == 'ABORTED' && build.printed.last().contains('could not call it off')
            }
            suite.check('a server that is away when the timeout comes') {
                Build build = suite.play([scenario: 'never'], "timeout(time: 5) {\n${Suite.PROMOTE}\n}") { it.faults = (10..500).collectEntries { [it, '502'] } }
                suite.sound(build)
                assert build.result == 'ABORTED' && build.printed.last().contains('could not call it off')
            }
            suite.check('its own limit') {
                long began = Clock.now()
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 7')
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.message.contains('no result within 7 minutes')
                assert build.failure.message.contains('the release goes on: shop/p-') && build.failure.message.endsWith('/promotions/' + suite.server.journal().ids[0])
                assert suite.server.journal().aborts.empty && (Clock.now() - began).intdiv(60000) in [7L, 8L]
                assert build.requests < 40
            }
        }
    }

    private static void late(Suite suite) {
        String pipeline = Suite.PROMOTE + ', timeoutMinutes: 10'
        Build calm = suite.play([scenario: 'promoted', cut: 2], pipeline)
        int started = calm.steps.indexOf('echo') + 1
        (started..calm.steps.size()).each { int step ->
            ['down-before', 'down-after'].each { happens ->
                suite.check("${happens} of step ${step}, ${calm.steps[step - 1]}: the verdict counts") {
                    suite.same(suite.play([scenario: 'promoted', cut: 2], pipeline) { it.plan = [(step): happens] }, calm)
                }
            }
        }
        suite.check('a promotion that is not over when Jenkins comes back is left, and the build says so') {
            Build build = suite.play([scenario: 'never'], pipeline) { it.plan = [(calm.polls.last()): 'down-after'] }
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('the release goes on: shop/p-')
            assert suite.server.journal().aborts.empty
        }
        suite.check('a promotion that is not over when Jenkins comes back is called off if asked for') {
            Build build = suite.play([scenario: 'never'], pipeline + ", onLost: 'abort'") { it.plan = [(calm.polls.last()): 'down-after'] }
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('no result within 10 minutes')
            assert suite.server.journal().aborts.size() == 1
        }
        suite.check('a server that is away when Jenkins comes back is asked for a minute') {
            long began = Clock.now()
            Build build = suite.play([scenario: 'promoted'], pipeline) { it.plan = [(calm.polls.first()): 'down-after']; it.faults = (3..500).collectEntries { [it, '502'] } }
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('no answer in time')
            assert Clock.now() - began in 930000L..965000L
        }
        suite.check('a timeout around it comes while the server is asked for that minute') {
            Build build = suite.play([scenario: 'never'], "timeout(time: 690, unit: 'SECONDS') {\n${pipeline}\n}") { it.faults = (9..500).collectEntries { [it, '502'] } }
            suite.sound(build)
            assert build.result == 'ABORTED' && build.printed.last().contains('could not call it off')
        }
        suite.check('a promotion that is promoted when it shall be called off for its time') {
            Build build = suite.play([scenario: 'never', late: true], pipeline + ", deadlineSeconds: 7200, onLost: 'abort'")
            suite.sound(build)
            assert build.result == 'SUCCESS' && build.logLines() == suite.serverLines() && suite.server.journal().aborts.size() == 1
        }
    }

    /** An abort is a no to the build and to the release, whenever it comes. */
    private static void aborted(Suite suite, Build build, Build calm) {
        suite.sound(build)
        Map journal = suite.server.journal()
        assert build.logLines() == suite.serverLines()
        if (build.steps.size() == calm.steps.size() && build.failure == null) {
            // It came after the last step that can be interrupted: the build was over.
            assert build.plan.keySet()[0] > calm.steps.size() - 3 && build.result == 'SUCCESS'
            return
        }
        assert build.result == 'ABORTED'
        assert build.failure instanceof org.jenkinsci.plugins.workflow.steps.FlowInterruptedException
        if (build.plan.keySet()[0] <= 2) {
            // The server and the token were still being looked up: nothing must be started only to be called off.
            assert journal.created == 0 && journal.requests.empty
            return
        }
        assert journal.created == 1 && journal.aborts.size() == 1
        assert build.printed.last().contains(journal.log.contains('promoted') ? ': Promoted' : ': Aborted')
    }

    private static void eachStep(Build calm, Closure body) {
        assert calm.steps.size() > 15
        (1..calm.steps.size()).each { body(it) }
    }
}
