package harness

/** canaryStatus, canaryApprove, canaryAbort, canaryGate, and what Jenkins demands of the library's files. */
class OtherSteps {
    private static final String START = "def state = ${Suite.PROMOTE}, wait: false\n"
    private static final String GATE = START + "canaryGate(canary: 'shop/web', promotion: state.id, gate: 'confirm-promotion') {\n  mark('in the gate')\n  BODY\n}\n" + Suite.PROMOTE

    private static final String APPROVE = START + "canaryApprove canary: 'shop/web', promotion: state.id, gate: 'confirm-promotion', comment: 'schön'\n" + Suite.PROMOTE

    static void run(Suite suite) {
        suite.group('approvals, and what becomes of them') {
            approvals(suite)
        }
        suite.group('the other steps') {
            suite.check('canaryStatus of a Canary') {
                Build build = suite.play([scenario: 'promoted'], "def it = canaryStatus canary: 'shop/web'\nmark(it.phase)")
                suite.sound(build)
                assert build.printed == ['[canary] mark Succeeded']
            }
            suite.check('canaryStatus of a promotion') {
                Build build = suite.play([scenario: 'promoted'], START + "mark(canaryStatus(namespace: 'shop', promotion: state.id).phase)")
                assert build.printed.last() == '[canary] mark Pending'
            }
            suite.check('canaryAbort waits for the result') {
                Build build = suite.play([scenario: 'never'], START + "mark(canaryAbort(canary: 'shop/web', promotion: state.id, action: 'pause', reason: 'wrong image').result)")
                suite.sound(build)
                assert build.printed.last() == '[canary] mark Aborted' && build.logLines() == suite.serverLines()
                assert suite.server.journal().aborts == [[action: 'pause', reason: 'wrong image']]
            }
            suite.check('canaryApprove') {
                Build build = suite.play([scenario: 'held'], APPROVE)
                suite.sound(build)
                assert build.result == 'SUCCESS' && suite.server.journal().gates == [[gate: 'confirm-promotion', comment: 'schön', verb: 'approve']]
            }
            suite.check('canaryApprove may reject') {
                assert suite.play([scenario: 'held'], START + "canaryApprove canary: 'shop/web', promotion: state.id, gate: 'g', reject: true\n" + Suite.PROMOTE).result == 'FAILURE'
            }
            suite.check('a gate whose block succeeds is approved, once it holds') {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)'))
                suite.sound(build)
                assert build.result == 'SUCCESS' && suite.server.journal().gates*.verb == ['approve']
                assert build.logLines() == suite.serverLines()
            }
            suite.check('a gate whose block fails is rejected, and the failure is kept') {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', "error('smoke test failed')"))
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.message == 'smoke test failed'
                assert suite.server.journal().gates*.verb == ['reject'] && suite.server.journal().gates[0].comment.contains('smoke test failed')
            }
            suite.check('a gate is waited for by its name, whatever holds the promotion before') {
                Build build = suite.play([scenario: 'held-before'], GATE.replace('BODY', "mark('at ' + canaryStatus(canary: 'shop/web', promotion: state.id).held)"))
                suite.sound(build)
                assert build.printed.contains('[canary] mark at AwaitingApproval')
                assert build.result == 'SUCCESS' && suite.server.journal().gates*.verb == ['approve']
            }
            suite.check('a gate that does not come in time is an error, which says what holds instead') {
                long began = Clock.now()
                Build build = suite.play([scenario: 'held-elsewhere'], GATE.replace('BODY', '').replace("-promotion')", "-promotion', minutes: 3)"))
                suite.sound(build)
                assert build.failure.message.contains('did not come to the gate confirm-promotion in time, it is held: Paused')
                assert !build.printed.contains('[canary] mark in the gate') && suite.server.journal().gates.empty
                assert (Clock.now() - began).intdiv(60000) == 3L
            }
            suite.check('a gate that is open already needs no block') {
                Build build = suite.play([scenario: 'opened'], GATE.replace('BODY', ''))
                suite.sound(build)
                assert build.result == 'SUCCESS' && build.printed.any { it.contains('is open already') }
                assert !build.printed.contains('[canary] mark in the gate') && suite.server.journal().gates.empty
            }
            suite.check('an open gate of a promotion that was rolled back is an error') {
                Build build = suite.play([scenario: 'opened-bad'], GATE.replace('BODY', ''))
                assert build.failure.message.contains('is over already: RolledBack') && suite.server.journal().gates.empty
            }
            suite.check('a gate that is rejected already is an error') {
                Build build = suite.play([scenario: 'rejected'], GATE.replace('BODY', ''))
                suite.sound(build)
                assert build.failure.message.contains('is settled already: Rejected')
                assert !build.printed.contains('[canary] mark in the gate') && suite.server.journal().gates.empty
            }
            suite.check('a gate may be settled in advance') {
                Build build = suite.play([scenario: 'held-before'],
                    GATE.replace("-promotion')", "-promotion', whenHeld: false)").replace('BODY', "mark('at ' + canaryStatus(canary: 'shop/web', promotion: state.id).phase)"))
                suite.sound(build)
                assert build.printed.contains('[canary] mark at Pending') && suite.server.journal().gates*.verb == ['approve']
            }
            ['x', '😀', '-😀'].each { String sign ->
                suite.check("a gate whose block fails with a long message of ${sign} is rejected") {
                    Build build = suite.play([scenario: 'held'], GATE.replace('BODY', "error('smoke: ${sign * 3000}')"))
                    suite.sound(build)
                    List gates = suite.server.journal().gates
                    assert build.failure.message.startsWith('smoke: ') && gates*.verb == ['reject']
                    assert gates[0].comment.startsWith('jenkins-shop-web-42: smoke: ' + sign) && gates[0].comment.length() in [999, 1000]
                }
            }
            suite.check('a long reason calls a promotion off all the same') {
                Build build = suite.play([scenario: 'never'], START + "mark(canaryAbort(canary: 'shop/web', promotion: state.id, reason: '-${'😀' * 700}').result)")
                suite.sound(build)
                assert build.printed.last() == '[canary] mark Aborted' && suite.server.journal().aborts[0].reason == '-' + '😀' * 499
            }
            suite.check('a gate of a promotion that is over is an error') {
                Build build = suite.play([scenario: 'promoted'], GATE.replace('BODY', ''))
                assert build.result == 'FAILURE' && !build.printed.contains('[canary] mark in the gate') && suite.server.journal().gates.empty
            }
            Build calm = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)'))
            int inside = calm.steps.indexOf('mark') + 2
            suite.check('a gate that is aborted is rejected') {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)')) { it.plan = [(inside): 'abort'] }
                suite.sound(build)
                assert build.result == 'ABORTED' && suite.server.journal().gates*.verb == ['reject']
            }
            // From the first step after the start to the last before the block.
            ((calm.steps.indexOf('echo') + 2)..calm.steps.indexOf('mark')).each { int step ->
                ['abort', 'abort-after'].each { happens ->
                    suite.check("${happens} at step ${step}, ${calm.steps[step - 1]}, while the gate is waited for") {
                        Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)')) { it.plan = [(step): happens] }
                        suite.sound(build)
                        assert build.result == 'ABORTED' && suite.server.journal().gates*.verb == ['reject']
                        assert build.failure instanceof org.jenkinsci.plugins.workflow.steps.FlowInterruptedException
                    }
                }
            }
            // From the block's end to the last that canaryGate does.
            int approved = inside + 1
            int heeded = approved + 2
            (approved..(approved + 4)).each { int step ->
                suite.check("aborted at step ${step}, ${calm.steps[step - 1]}, while it is approved") {
                    Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)')) { it.plan = [(step): 'abort'] }
                    suite.sound(build)
                    List gates = suite.server.journal().gates*.verb
                    assert build.result == 'ABORTED' && (step < heeded ? gates == ['reject'] : gates == ['approve', 'reject'])
                    assert step < heeded || build.printed.any { it.contains('refused: the gate is settled already') }
                }
            }
            suite.check('a timeout while the gate is waited for rejects it, within the minute of grace') {
                String pipeline = "timeout(time: 5) {\n" + GATE.replace('BODY', '') + "\n}"
                Build build = suite.play([scenario: 'held-elsewhere'], pipeline) { it.faults = [20: '502', 21: 'hang'] }
                suite.sound(build)
                assert build.result == 'ABORTED' && suite.server.journal().gates*.verb == ['reject']
            }
            suite.check('an agent that is gone while the gate is waited for rejects nothing') {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', '')) { it.plan = [(calm.steps.indexOf('mark') - 2): 'agent-gone'] }
                suite.sound(build)
                assert build.result == 'ABORTED' && suite.server.journal().gates.empty
            }
            ['agent-gone', 'agent-late'].each { happens ->
                suite.check("a gate whose agent is lost stays open: ${happens}") {
                    Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)')) { it.plan = [(inside): happens] }
                    suite.sound(build)
                    assert build.result == 'ABORTED' && suite.server.journal().gates.empty
                }
                suite.check("a promotion whose agent is lost is not called off: ${happens}") {
                    Build build = suite.play([scenario: 'never'], Suite.PROMOTE) { it.plan = [12: happens] }
                    suite.sound(build)
                    assert build.result == 'ABORTED' && suite.server.journal().aborts.empty
                }
            }
            suite.check('a promotion whose build is aborted is called off') {
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE) { it.plan = [12: 'abort'] }
                suite.sound(build)
                assert build.result == 'ABORTED' && suite.server.journal().aborts*.action == ['rollback']
            }
            (1..calm.steps.size()).each { int step ->
                suite.check("a gate in a build that restarts at step ${step}, ${calm.steps[step - 1]}") {
                    Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)')) { it.plan = [(step): 'restart-after'] }
                    suite.same(build, calm)
                    assert suite.server.journal().gates*.verb == ['approve']
                }
            }
        }
        suite.group('what Jenkins demands of the files') {
            List sources = []
            Paths.library.eachFileRecurse { if (it.name.endsWith('.groovy') && !it.path.contains('/test/')) { sources << it } }
            sources.each { File file ->
                String text = file.text
                suite.check("${file.name} does nothing that the sandbox or the interpreter forbids") {
                    ['new URL', 'readJSON', 'writeJSON', 'JsonSlurperClassic', 'Jenkins.instance', 'Jenkins.get', '.execute(', 'new File', '@Grab', 'println', 'evaluate(', 'metaClass'].each { assert !text.contains(it) }
                    assert file.name == 'Json.groovy' || !text.contains('JsonSlurper')
                    assert !(text =~ /\.(each|collect|find|any|every|inject|sort|times|eachWithIndex|findAll)\w*\s*(\([^)]*\)\s*)?\{/)
                    assert file.parentFile.name == 'vars' || text.contains('implements Serializable')
                }
            }
            suite.check('the example is Groovy, and calls what there is') {
                String text = new File(Paths.library, 'Jenkinsfile').text.replace("@Library('bellwether') _", '')
                new GroovyShell().parse(text)
                (text =~ /canary[A-Z]\w+(?=\()/).each { assert new File(Paths.library, "vars/${it}.groovy").exists() }
            }
            ['README.md', 'vars/canaryPromote.txt'].each { name ->
                suite.check("${name} promotes no image of a variable that is not set there") {
                    assert !(new File(Paths.library, name).getText('UTF-8') =~ /canaryPromote .*GIT_COMMIT/)
                }
            }
            sources.findAll { it.parentFile.name == 'vars' }.each { File file ->
                suite.check("${file.name} has its help") {
                    assert new File(file.path.replace('.groovy', '.txt')).text.length() > 200
                }
            }
        }
    }
    private static void approvals(Suite suite) {
        suite.check('one that is refused fails the step, in the words of the refusal') {
            Build build = suite.play([scenario: 'held', refusal: 'good asked for this release'], APPROVE)
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('refused: good asked for this release')
            assert suite.server.journal().gates*.verb == ['approve']
        }
        suite.check('a gate whose approval is refused fails the build, and its block succeeded') {
            Build build = suite.play([scenario: 'held', refusal: 'good asked for this release'], GATE.replace('BODY', 'sleep(time: 5)'))
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('refused: good asked for this release')
        }
        suite.check('a rejection that is refused does not hide why the block failed') {
            Build build = suite.play([scenario: 'held', refusal: 'no release is under way'], GATE.replace('BODY', "error('smoke test failed')"))
            suite.sound(build)
            assert build.failure.message == 'smoke test failed' && build.printed.any { it.contains('refused: no release is under way') }
        }
        suite.check('one that is answered late is waited for') {
            Build build = suite.play([scenario: 'held', unanswered: 3], APPROVE)
            suite.sound(build)
            assert build.result == 'SUCCESS' && suite.server.journal().requests.count { it.contains('/approvals/') } == 4
        }
        suite.check('one that is not answered fails the step when its time is over') {
            long began = Clock.now()
            Build build = suite.play([scenario: 'held', unanswered: 1000], APPROVE.replace("'schön'", "'schön', minutes: 2"))
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('was not answered in time')
            assert (Clock.now() - began).intdiv(60000) == 2L && build.requests < 15
        }
        suite.check('one of a promotion that is over is none') {
            Build build = suite.play([scenario: 'promoted'], "def state = ${Suite.PROMOTE}\ncanaryApprove canary: 'shop/web', promotion: state.id, gate: 'g'")
            suite.sound(build)
            assert build.result == 'SUCCESS' && build.printed.last().contains('is over') && suite.server.journal().gates.empty
        }
        suite.check('one of a promotion that was rolled back meanwhile fails the step') {
            Build build = suite.play([scenario: 'rolledback'],
                "def state = ${Suite.PROMOTE}, onRolledBack: 'UNSTABLE'\ncanaryApprove canary: 'shop/web', promotion: state.id, gate: 'g'")
            suite.sound(build)
            assert build.failure.message.contains('is over: RolledBack') && suite.server.journal().gates.empty
        }
        Build calm = suite.play([scenario: 'held', unanswered: 1], APPROVE)
        suite.check('one that is given in peace') {
            suite.sound(calm)
            assert calm.result == 'SUCCESS' && calm.printed.contains('[canary] approved confirm-promotion of ' + suite.server.journal().ids[0])
        }
        (1..calm.steps.size()).each { int step ->
            suite.check("restart at step ${step}, ${calm.steps[step - 1]}") {
                suite.same(suite.play([scenario: 'held', unanswered: 1], APPROVE) { it.plan = [(step): 'restart-after'] }, calm)
                assert suite.server.journal().gates*.verb == ['approve']
            }
        }
        ['500', '429', 'login', 'page', 'otherjson', 'lost', 'cut', 'refused', 'hang', 'gone'].each { fault ->
            // The approval, and twice the question what became of it.
            (2..4).each { int request ->
                suite.check("${fault} at request ${request}") {
                    suite.same(suite.play([scenario: 'held', unanswered: 1], APPROVE) { it.faults = [(request): fault] }, calm)
                    assert suite.server.journal().gates*.verb == ['approve']
                }
            }
        }
    }
}
