package harness

import hudson.AbortException

/** The way to the server is lost, for a while or for good: what is no verdict, what goes on, and what a build costs that waits. */
class Lost {
    private static final String START = "def state = ${Suite.PROMOTE}, wait: false\n"
    private static final String GATE = START + "canaryGate(canary: 'shop/web', promotion: state.id, gate: 'confirm-promotion') {\n  mark('in the gate')\n  BODY\n}\n" + Suite.PROMOTE
    private static final String FAULT = 'infrastructure fault, no verdict about the release: '
    private static final String DAYS = START + "sleep(time: ${2 * 86400})\n"

    static void run(Suite suite) {
        suite.group('faults that are no verdict') {
            gates(suite)
        }
        suite.group('refused and lost for a while') {
            patience(suite)
        }
        suite.group('the release goes on') {
            goesOn(suite)
        }
        suite.group('waiting for what was started before') {
            later(suite)
        }
        suite.group('what waiting costs') {
            budget(suite)
        }
    }

    private static void gates(Suite suite) {
        Map faults = [
            'a lost channel': new IOException('Unexpected termination of the channel'), 'a closed channel': new java.nio.channels.ClosedChannelException(),
            'a checkout': new AbortException('Error fetching remote repo \'origin\''), 'a command that Jenkins lost': new AbortException('script returned exit code -1'),
            'a hangup': new AbortException('script returned exit code 129'), 'an interrupt': new AbortException('script returned exit code 130'),
            'want of memory': new AbortException('script returned exit code 137'), 'a drain': new AbortException('script returned exit code 143'),
            'a missing file': new java.nio.file.NoSuchFileException('report.json'), 'no reports': new AbortException('No test report files were found. Configuration error?'),
            'a missing plugin': new NoSuchMethodError("No such DSL method 'junit' found among steps"), 'the plugin\'s own failure': new IllegalStateException('java.net.SocketException: Connection reset'),
        ]
        faults.each { name, failure ->
            suite.check("a block that fails by ${name} leaves the gate as it is") {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', "fail('${name.replace('\'', '')}')")) { it.breaks = faults.collectEntries { [it.key.replace('\'', ''), it.value] } }
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.is(failure) && suite.server.journal().gates.empty
                assert build.printed.last().contains(FAULT) && build.printed.last().contains('stays closed') && build.printed.last().contains('the release goes on: shop/p-')
            }
        }
        ['error': new AbortException('smoke test failed'), 'exit code': new AbortException('script returned exit code 1'), 'timeout': new AbortException('script returned exit code 124'),
            'a crash': new AbortException('script returned exit code 139'), 'a code of its own': new AbortException('script returned exit code 1370'), 'exception': new Exception('slow'),
            'assertion': new AssertionError('slow' as Object)].each { name, failure ->
            suite.check("a block that fails by its check is a no: ${name}") {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', "fail('it')")) { it.breaks = [it: failure] }
                suite.sound(build)
                assert build.failure.is(failure) && suite.server.journal().gates*.verb == ['reject'] && !build.printed.any { it.contains(FAULT) }
            }
        }
        ['500', '502', 'login', 'page', 'otherjson', 'cut', 'refused', 'hang', 'lost'].each { fault ->
            suite.check("a server that is lost while the gate is waited for is no no: ${fault}") {
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', '')) { it.faults = (2..900).collectEntries { [it, fault] } }
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.message.contains(FAULT) && suite.server.journal().gates.empty
                assert build.failure.message.contains('the release goes on: shop/p-') && !build.failure.message.contains('reject')
            }
            suite.check("a server that is lost when the gate is to be approved is no no: ${fault}") {
                Build calm = suite.play([scenario: 'held'], GATE.replace('BODY', ''))
                int approval = suite.server.journal().requests.findIndexOf { it.endsWith('/approve') } + 1
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', '')) { it.faults = (approval..900).collectEntries { [it, fault] } }
                suite.sound(build)
                assert calm.result == 'SUCCESS' && build.result == 'FAILURE' && build.failure.message.contains(FAULT)
                assert build.failure.message.contains('the release goes on: shop/p-')
            }
        }
        suite.check('a status that cannot be read inside the block is no no') {
            Build build = suite.play([scenario: 'held'], GATE.replace('BODY', "canaryStatus canary: 'shop/web', minutes: 1")) { it.faults = (6..900).collectEntries { [it, '502'] } }
            suite.sound(build)
            assert build.failure.message.contains(FAULT) && suite.server.journal().gates.empty
        }
    }

    private static void patience(Suite suite) {
        Build calm = suite.play([scenario: 'promoted'], Suite.PROMOTE)
        ['401', '403', '429', '500'].each { fault ->
            // The first answer was taken; the fault lasts for a bit more than two minutes of tries.
            suite.check("${fault} after the first contact is waited out for two minutes") {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = (3..14).collectEntries { [it, fault] }; it.saveAlways = true }
                suite.same(build, calm)
                int waited = build.printed.findAll { it.contains('asking again in') }.collect { (it =~ /in (\d+) s/)[0][1] as int }.sum()
                assert waited >= 120
                // Each try has a token of its own.
                assert build.steps.count('bind') >= 11
            }
        }
        suite.check('a token that is refused for good is given up after three minutes, and the build says that the release goes on') {
            long began = Clock.now()
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE) { it.faults = (3..900).collectEntries { [it, '401'] } }
            suite.sound(build)
            assert Clock.now() - began in 180000L..260000L
            assert build.failure.message.contains(FAULT + 'the token is refused for 3 minutes') && build.failure.message.contains('; the release goes on: shop/p-')
            assert suite.server.journal().aborts.empty
        }
        suite.check('a token that grew old while it was used is replaced at once') {
            Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [4: '401'] }
            suite.same(build, calm)
            assert !build.printed.any { it.contains('asking again') }
        }
        suite.check('a gate that follows in the same build has met the server') {
            Build build = suite.play([scenario: 'held'], GATE.replace('BODY', '')) { it.faults = [2: '401', 3: '403'] }
            suite.sound(build)
            assert build.result == 'SUCCESS'
        }
        [dns: 'the name of the host is not known', tls: 'PKIX path building failed', '401': 'its signature is wrong', '403': 'its signature is wrong', gone: 'not the hook API'].each { fault, words ->
            suite.check("${fault} at the first contact is an error at once, and no verdict") {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = fault in ['401', '403'] ? [1: fault] : ['*': fault] }
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.message.contains(FAULT) && build.failure.message.contains(words)
                assert build.requests + build.probes <= 2 && suite.server.journal().created == 0 && !build.failure.message.contains('goes on')
            }
        }
        ['a store that is away': new IllegalStateException('the vault is sealed'), 'a credential that is gone': new AbortException('Could not find credentials entry with ID bellwether')].each { name, failure ->
            suite.check("after the first contact it is waited out: ${name}") {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.lookups = (2..12).collectEntries { [it, failure] }; it.saveAlways = true }
                suite.same(build, calm)
                assert build.printed.any { it.contains("no token could be had from the credential bellwether (${failure.message}), asking again in 15 s") }
            }
            suite.check("it is given up after three minutes, and the build says that the release goes on: ${name}") {
                long began = Clock.now()
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE) { it.lookups = (2..900).collectEntries { [it, failure] } }
                suite.sound(build)
                assert Clock.now() - began in 180000L..260000L && suite.server.journal().aborts.empty
                assert build.failure.message.contains(FAULT + 'there is no token for 3 minutes now: ') && build.failure.message.contains('; the release goes on: shop/p-')
            }
            suite.check("at the gate it is no verdict: ${name}") {
                // While the gate is waited for, and when it is to be approved.
                [3, 4].each { int lookup ->
                    Build build = suite.play([scenario: 'held'], GATE.replace('BODY', '')) { it.lookups = (lookup..900).collectEntries { [it, failure] } }
                    suite.sound(build)
                    assert build.result == 'FAILURE' && build.failure.message.contains(FAULT) && suite.server.journal().gates.empty
                    assert build.failure.message.contains('; the release goes on: shop/p-')
                }
            }
        }
        suite.check('whatever else goes wrong while a promotion is followed, the build says that the release goes on') {
            int step = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 1').steps.findLastIndexOf { it == 'unbind' } + 1
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 1') { it.plan = [(step): 'fail'] }
            suite.sound(build)
            assert build.failure.message.contains(FAULT + 'java.lang.IllegalStateException: put in by the test; the release goes on: shop/p-')
        }
        suite.check('whatever else goes wrong at a gate is no verdict') {
            Build quiet = suite.play([scenario: 'held'], GATE.replace('BODY', ''))
            int block = quiet.steps.indexOf('mark')
            // The last lookup before the block, and the first one after it.
            [quiet.steps.take(block).findLastIndexOf { it == 'unbind' } + 1, block + quiet.steps.drop(block).indexOf('unbind') + 1].each { int step ->
                Build build = suite.play([scenario: 'held'], GATE.replace('BODY', '')) { it.plan = [(step): 'fail'] }
                suite.sound(build)
                assert build.failure.message.contains(FAULT + 'java.lang.IllegalStateException: put in by the test; the release goes on: shop/p-')
                assert !(suite.server.journal().gates*.verb.contains('reject'))
            }
        }
        ['dns', 'tls'].each { fault ->
            suite.check("${fault} after the first contact is waited out") {
                suite.same(suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [3: fault, 4: fault] }, calm)
            }
        }
    }

    private static void goesOn(Suite suite) {
        Closure told = { String text -> text.contains('the release goes on: shop/' + suite.server.journal().ids[0] + ', ' + suite.server.url + '/v1/namespaces/shop/promotions/' + suite.server.journal().ids[0]) }
        suite.check('its own limit, and the server decides nothing') {
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 3')
            assert told(build.failure.message) && suite.server.journal().aborts.empty
        }
        suite.check('its own limit, and the build asks for an abort') {
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ", timeoutMinutes: 3, onLost: 'abort'")
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('Aborted') && !build.failure.message.contains('goes on')
            assert suite.server.journal().aborts*.action == ['rollback']
        }
        suite.check('a refused token, and the build asks for an abort in vain') {
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ", onLost: 'abort'") { it.faults = (3..900).collectEntries { [it, '401'] } }
            suite.sound(build)
            assert told(build.failure.message) && build.printed.last().contains('could not call it off')
        }
        suite.check('a server that is back when the abort is asked for') {
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ", onLost: 'abort'") {
                it.faults = (3..21).collectEntries { [it, '401'] }
            }
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.contains('called off: Aborted') || build.result == 'FAILURE' && build.failure.message.contains('no result')
        }
        suite.check('an aborted build whose abort does not arrive') {
            Build build = suite.play([scenario: 'never'], "timeout(time: 5) {\n${Suite.PROMOTE}\n}") { it.faults = (5..500).collectEntries { [it, '502'] } }
            assert build.result == 'ABORTED' && told(build.printed.last())
        }
        suite.check('an aborted build whose abort is not heeded in time') {
            Build build = suite.play([scenario: 'never', deaf: true], "timeout(time: 5) {\n${Suite.PROMOTE}\n}")
            assert build.result == 'ABORTED' && told(build.printed.last())
        }
        suite.check('an aborted build that lets the release go on') {
            Build build = suite.play([scenario: 'never'], "timeout(time: 5) {\n${Suite.PROMOTE}, onAbort: 'none'\n}")
            assert build.result == 'ABORTED' && told(build.printed.last()) && suite.server.journal().aborts*.action == ['none']
        }
        suite.check('a start of which nobody knows whether it was taken') {
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 1') { it.faults = (1..500).collectEntries { [it, 'lost'] } }
            suite.sound(build)
            assert build.failure.message.contains('it may have been started all the same; see ' + suite.server.url + '/v1/namespaces/shop/canaries/web')
        }
        String unknown = 'it may have been started all the same; see ' + suite.server.url + '/v1/namespaces/shop/canaries/web'
        Map late = [gone: { it.faults = [1: 'lost', 2: 'gone'] }, '401': { it.faults = [1: 'lost', 2: '401'] }, '403': { it.faults = [1: 'lost', 2: '403'] },
            'gone before the token': { it.faults = [1: 'lost']; it.probeFaults = [2: 'gone'] }, 'conflict': { it.faults = [1: 'lost', 2: 'evil-refusal'] }]
        late.each { fault, prepare ->
            suite.check("a start whose answer is lost, and then a refusal: ${fault}") {
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE, prepare)
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.message.endsWith(unknown) && suite.server.journal().created == 1
                assert suite.server.journal().aborts.empty
            }
            suite.check("a start whose answer is lost, and then a refusal, is called off where that is asked for: ${fault}") {
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ", onLost: 'abort'", prepare)
                suite.sound(build)
                assert build.result == 'FAILURE' && build.failure.message.endsWith('called off: Aborted') && suite.server.journal().created == 1
                assert suite.server.journal().aborts*.action == ['rollback']
            }
        }
        suite.check('a build that is aborted while it starts, and then a refusal') {
            int start = suite.play([scenario: 'promoted']).steps.indexOf('bind') + 2
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE) { it.plan = [(start): 'abort-after']; it.faults = [2: 'gone'] }
            suite.sound(build)
            assert build.result == 'ABORTED' && suite.server.journal().created == 1
            assert build.printed.last().contains('could not call it off') && build.printed.last().endsWith(unknown)
        }
        suite.check('a start that was refused') {
            assert !suite.play([scenario: 'conflict']).failure.message.contains('goes on')
            assert !suite.play([scenario: 'frozen']).failure.message.contains('started all the same')
        }
        suite.check('a promotion that is not over when canaryAbort has waited for it') {
            Build build = suite.play([scenario: 'never', deaf: true], START + "canaryAbort(minutes: 2)\nmark('green')")
            suite.sound(build)
            assert build.result == 'FAILURE' && build.failure.message.startsWith('canaryAbort: p-') && build.failure.message.contains(' is not over yet; ')
            assert told(build.failure.message) && suite.server.journal().aborts*.action == ['rollback']
        }
        ['502', '401', 'hang', 'page'].each { fault ->
            ['canaryAbort minutes: 4', "canaryApprove gate: 'confirm-promotion', minutes: 4", "canaryApprove gate: 'confirm-promotion', reject: true, minutes: 4"].each { call ->
                suite.check("an order that does not arrive: ${call}, ${fault}") {
                    Build build = suite.play([scenario: 'held'], START + call) { it.faults = (2..900).collectEntries { [it, fault] } }
                    suite.sound(build)
                    assert build.result == 'FAILURE' && build.failure.message.contains(FAULT) && told(build.failure.message)
                    assert build.failure.message.count('goes on') == 1
                }
            }
        }
        suite.check('a log whose end cannot be read after canaryAbort') {
            suite.play([scenario: 'never'], START + 'canaryAbort()')
            int end = suite.server.journal().requests.findLastIndexOf { it.contains('/log?') } + 1
            Build build = suite.play([scenario: 'never'], START + 'mark(canaryAbort(minutes: 2).result)') { it.faults = (end..900).collectEntries { [it, '502'] } }
            suite.sound(build)
            assert build.result == 'SUCCESS' && build.printed.last() == '[canary] mark Aborted'
            assert build.printed.any { it.contains('the end of the log could not be read') }
        }
        suite.check('a gate that is not reached in time') {
            Build build = suite.play([scenario: 'held-elsewhere'], GATE.replace('BODY', '').replace("-promotion')", "-promotion', minutes: 3)"))
            assert told(build.failure.message) && build.failure.message.contains('no verdict about the release')
            build = suite.play([scenario: 'held-elsewhere'], GATE.replace('BODY', '').replace("-promotion')", "-promotion', minutes: 3, onLost: 'abort')"))
            assert suite.server.journal().aborts*.action == ['rollback'] && !build.failure.message.contains('goes on')
        }
        suite.check('a wrong choice is refused') {
            assert suite.play([scenario: 'promoted'], Suite.PROMOTE + ", onLost: 'flee'").failure.message.contains('onLost must be one of leave, abort')
        }
    }

    private static void later(Suite suite) {
        Build calm = suite.play([scenario: 'promoted'], Suite.PROMOTE)
        ["canaryWait canary: 'shop/web'", 'canaryWait()', "canaryWait namespace: 'shop', id: state.id", "canaryWait canary: 'shop/web', promotion: state.id"].each { call ->
            suite.check("after two days: ${call}") {
                Build build = suite.play([scenario: 'promoted'], DAYS + call)
                suite.same(build, calm)
            }
            suite.check("what became of it is told when the server has forgotten it: ${call}") {
                [[result: 'Succeeded', exitCode: 0, ends: 'SUCCESS'], [result: 'Promoted', exitCode: 0, ends: 'SUCCESS'], [result: 'RolledBack', exitCode: 3, ends: 'FAILURE'],
                    [result: 'Aborted', exitCode: 5, ends: 'ABORTED'], [result: 'Failed', exitCode: 8, ends: 'FAILURE'], [result: 'Vanished', exitCode: 9, ends: 'FAILURE'],
                    [result: 'Promoted', exitCode: 3, ends: 'FAILURE'], [result: 'Promoted', ends: 'FAILURE']].each { Map end ->
                    suite.server.reset([scenario: 'promoted'])
                    Build build = new Build(suite.server)
                    build.meanwhile = { suite.server.forget(end.findAll { it.key != 'ends' }) }
                    build.run(START + "meanwhile()\n" + call)
                    suite.sound(build)
                    assert build.result == end.ends && suite.server.journal().created == 1
                    String said = build.failure?.message ?: build.printed.last()
                    assert said.contains(": ${end.result}, ended at 2026-01-01T10:30:00Z with exit code ${end.exitCode}, and is kept no more; nothing was started")
                }
            }
        }
        suite.check('a key that the server has forgotten starts nothing') {
            suite.play([scenario: 'promoted'])
            [[result: 'Succeeded', exitCode: 0, ends: 'SUCCESS'], [result: 'RolledBack', exitCode: 3, ends: 'FAILURE']].each { Map end ->
                suite.server.forget(end.findAll { it.key != 'ends' })
                Build build = suite.again()
                suite.sound(build)
                assert build.result == end.ends && build.requests == 1 && suite.server.journal().created == 1
                assert (build.failure?.message ?: build.printed.last()).contains('nothing was started')
            }
        }
        suite.check('rolled back and forgotten may be UNSTABLE as well') {
            suite.play([scenario: 'promoted'])
            suite.server.forget([result: 'RolledBack', exitCode: 3])
            assert suite.again(Suite.PROMOTE + ", onRolledBack: 'UNSTABLE'").result == 'UNSTABLE'
        }
        suite.check('forgotten while it is followed, approved or called off') {
            ['canaryWait()', "canaryApprove gate: 'g'", 'canaryAbort()', "canaryGate(gate: 'g') { mark('x') }", "mark(canaryStatus(canary: 'shop/web', promotion: state.id).result)"].each { call ->
                suite.server.reset([scenario: 'never'])
                Build build = new Build(suite.server)
                build.meanwhile = { suite.server.forget([result: 'RolledBack', exitCode: 3]) }
                build.run(START + "meanwhile()\n" + call)
                suite.sound(build)
                assert (build.failure?.message ?: build.printed.last() + build.printed[-2]).contains('RolledBack') || call == 'canaryAbort()'
            }
        }
        suite.check('a build that started nothing') {
            Build build = suite.play([scenario: 'promoted'], 'canaryWait()')
            assert build.failure.message == 'canaryWait: this build started no promotion; name the one that is meant by promotion' && build.steps == ['error']
        }
        suite.check('a build that started promotions of two Canaries') {
            String two = START + "canaryPromote canary: 'shop/api', image: 'api:1', wait: false\n"
            Build build = suite.play([scenario: 'promoted'], two + 'canaryWait()')
            assert build.failure.message.contains('promotions of several Canaries')
            build = suite.play([scenario: 'promoted'], two + "canaryWait canary: 'shop/api'\ncanaryWait canary: 'shop/web'")
            suite.sound(build)
            assert build.result == 'SUCCESS' && suite.server.journal().created == 2
        }
        suite.check('a build that is aborted while it waits calls off') {
            Build build = suite.play([scenario: 'never'], START + 'timeout(time: 5) {\ncanaryWait()\n}')
            suite.sound(build)
            assert build.result == 'ABORTED' && suite.server.journal().aborts*.action == ['rollback'] && build.printed.last().contains('Aborted')
        }
        suite.check('an id that is none') {
            assert suite.play([scenario: 'promoted'], "canaryWait namespace: 'shop', id: '../x'").failure.message.contains('promotion must be the id')
            assert suite.play([scenario: 'promoted'], "canaryWait namespace: 'shop', id: 'p-unknown'").failure.message.contains('no such promotion')
        }
    }

    private static void budget(Suite suite) {
        int most = 200
        suite.check('45 minutes in which something changes every minute') {
            long began = Clock.now()
            Build build = suite.play([scenario: 'busy', every: 60], Suite.PROMOTE + ', timeoutMinutes: 60') { }
            suite.sound(build)
            assert build.result == 'SUCCESS' && (Clock.now() - began).intdiv(60000) in 45L..47L
            assert build.nodes <= most
            assert build.logLines() == suite.serverLines() && build.logLines().size() == 45
            assert build.logLines().every { it ==~ /10:\d\d:00 (Running step \d+ of 44: weight \d+ %|Promoted)/ }
            assert build.printed.count { it.startsWith('[canary]') } == 2
        }
        suite.check('45 minutes in which nothing changes') {
            Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 44')
            suite.sound(build)
            assert build.failure.message.contains('no result within 44 minutes') && build.nodes <= most
        }
        [20, 90, 100, 300].each { int every ->
            suite.check("45 minutes with a change every ${every} seconds") {
                Build build = suite.play([scenario: 'busy', every: every], Suite.PROMOTE + ', timeoutMinutes: 44') { }
                suite.sound(build)
                assert build.nodes <= most
            }
        }
        suite.check('45 minutes at a gate that does not come') {
            Build build = suite.play([scenario: 'held-elsewhere'], GATE.replace('BODY', ''))
            suite.sound(build)
            assert build.failure.message.contains('did not come to the gate') && build.nodes <= most
        }
        suite.check('a verdict is known within 80 seconds of the change before it') {
            suite.server.reset([scenario: 'busy', every: 7])
            long began = Clock.now()
            Build build = new Build(suite.server)
            build.run(Suite.PROMOTE)
            assert build.result == 'SUCCESS' && Clock.now() - began <= 45 * 7000L + 81000L
        }
    }
}
