package harness

/** An input between the start and the verdict, and several promotions of one Canary in one build. */
class Several {
    private static final String START = "def state = ${Suite.PROMOTE}, wait: false\n"

    static void run(Suite suite) {
        suite.group('an input that takes days') {
            input(suite)
        }
        suite.group('several promotions of one Canary') {
            cells(suite)
        }
    }

    private static void input(Suite suite) {
        String readme = new File(Paths.library, 'README.md').getText('UTF-8')
        String help = new File(Paths.library, 'vars/canaryGate.txt').getText('UTF-8')
        Map examples = ['README.md': (readme =~ /(?s)```groovy\n(.*?)```/).collect { it[1] }.findAll { it.contains('input') },
            'canaryGate.txt': (help =~ /(?s)<pre>(.*?)<\/pre>/).collect { it[1] }.findAll { it.contains('input') }]
        examples.each { name, List found ->
            String example = "env.IMAGE = 'web:1'\ndef image = env.IMAGE\n" + found[0]
            suite.check("the example with an input is one, and asks at the gate: ${name}") {
                assert found.size() == 1
                Build build = suite.play([scenario: 'held', deadline: true], example)
                suite.sound(build)
                assert build.result == 'SUCCESS' && suite.server.journal().gates*.onBehalfOf == [['mia']]
                assert build.printed[0].endsWith('; its deadline is 259200 s after it was first asked for')
            }
            suite.check("the example with an input lasts through a weekend, and restarts: ${name}") {
                Build waited = suite.play([scenario: 'held', deadline: true], example) { it.answer.after = 66L * 3600000L; it.saveAlways = true }
                suite.sound(waited)
                assert waited.result == 'SUCCESS' && suite.server.journal().gates*.verb == ['approve'] && suite.server.journal().gates*.onBehalfOf == [['mia']]
                (1..waited.steps.size()).each { int step ->
                    suite.same(suite.play([scenario: 'held', deadline: true], example) { it.answer.after = 66L * 3600000L; it.plan = [(step): 'restart-after'] }, waited)
                }
            }
            suite.check("Abort at the input of the example takes the release back: ${name}") {
                Build build = suite.play([scenario: 'held', deadline: true], example) { it.answer.after = 66L * 3600000L; it.answer.abort = true }
                suite.sound(build)
                assert build.result == 'ABORTED' && suite.server.journal().gates*.verb == ['reject']
            }
        }
        suite.check('a block that does not return who answered approves nothing where that is asked for') {
            ['null', "''", "[who: 'mia']"].each { value ->
                Build build = suite.play([scenario: 'held'], START + "canaryGate(gate: 'confirm-promotion', submitter: true) { ${value} }")
                suite.sound(build)
                assert build.failure.message.contains('submitter: true needs a block that returns who answered') && suite.server.journal().gates.empty
                assert build.failure.message.contains('the release goes on: shop/p-')
            }
        }
        suite.check('who does not wait is told the deadline') {
            assert suite.play([scenario: 'held'], START).printed == ['[canary] shop/web ' + suite.server.journal().ids[0] + ': Pending, ' + suite.server.url +
                '/v1/namespaces/shop/promotions/' + suite.server.journal().ids[0] + '; its deadline is 2700 s after it was first asked for']
            assert !suite.play([scenario: 'promoted']).printed.any { it.contains('deadline') }
        }
    }

    private static void cells(Suite suite) {
        String cells = "env.STAGE_NAME = 'A;/%; ü'\ncanaryPromote canary: 'shop/web', image: 'web:a', wait: false\n" +
            "env.STAGE_NAME = 'B'\ncanaryPromote canary: 'shop/web', image: 'web:b', wait: false\n"
        Closure of = { String image ->
            Map journal = suite.server.journal()
            journal.ids.find { String id -> journal.bodyOf[id].image == image }
        }
        [A: 'web:a', B: 'web:b'].each { stage, image ->
            ['canaryAbort()', "canaryApprove gate: 'confirm-promotion'", 'canaryWait()', "canaryGate(gate: 'confirm-promotion') { mark('x') }"].each { call ->
                suite.check("of two promotions of a Canary a step takes the one of its own stage: ${stage}, ${call}") {
                    String pipeline = cells + "env.STAGE_NAME = '${stage == 'A' ? 'A;/%; ü' : 'B'}'\n${call}"
                    Build build = suite.play([scenario: call.startsWith('canaryWait') ? 'promoted' : 'held'], pipeline)
                    suite.sound(build)
                    assert build.result == 'SUCCESS' && suite.server.journal().created == 2
                    String other = of(image == 'web:a' ? 'web:b' : 'web:a')
                    List after = suite.server.journal().requests.drop(2)
                    assert !after.empty && !after.any { it.contains(other) } && after.any { it.contains(of(image)) }
                }
            }
        }
        ['canaryAbort()', "canaryApprove gate: 'g'", 'canaryWait()', "canaryGate(gate: 'g') { mark('x') }"].each { call ->
            suite.check("a step of another stage does not guess between two promotions of a Canary: ${call}") {
                Build build = suite.play([scenario: 'held'], cells + "env.STAGE_NAME = 'C'\n${call}")
                suite.sound(build)
                assert build.failure.message.contains('this build started several promotions of shop/web that are not known to be over; name the one that is meant by promotion: ' +
                    of('web:a') + ' (stage A;/%; ü), ' + of('web:b') + ' (stage B), or by key')
                assert suite.server.journal().requests.size() == 2
            }
        }
        String matrix = ['linux', 'windows'].collect { "canaryPromote canary: 'shop/web', image: 'web:${it}', key: '${it}', wait: false\n" }.join()
        suite.check('cells of a matrix have one stage, and are told apart by their key') {
            Build build = suite.play([scenario: 'held'], matrix + 'canaryAbort()')
            assert build.failure.message.contains(of('web:linux') + ' (stage Promote, key linux), ' + of('web:windows') + ' (stage Promote, key windows)')
            build = suite.play([scenario: 'held'], matrix + "canaryAbort key: 'linux'\ncanaryApprove key: 'windows', gate: 'confirm-promotion'\ncanaryWait key: 'windows'")
            suite.sound(build)
            List orders = suite.server.journal().requests.findAll { it.startsWith('POST') }.drop(2)
            assert build.result == 'SUCCESS' && orders[0].endsWith(of('web:linux') + '/abort') && orders[1].endsWith(of('web:windows') + '/approve')
            assert suite.play([scenario: 'held'], matrix + "canaryAbort key: 'mac'").failure.message.contains('this build started no promotion with the key mac')
        }
        suite.check('a promotion that is over is not in the way of one that is not, nor of itself') {
            String second = "canaryPromote canary: 'shop/web', image: 'web:b', key: 'again', wait: false\n"
            Build build = suite.play([scenario: 'rolledback'], "${Suite.PROMOTE}, onRolledBack: 'UNSTABLE'\n${second}env.STAGE_NAME = 'C'\ncanaryAbort()")
            suite.sound(build)
            assert build.failure == null && suite.server.journal().requests.last().contains(of('web:b'))
            build = suite.play([scenario: 'held'], cells + "canaryAbort()\nenv.STAGE_NAME = 'C'\nmark(canaryAbort().id)")
            suite.sound(build)
            assert build.result == 'SUCCESS' && build.printed.last() == '[canary] mark ' + of('web:a')
            build = suite.play([scenario: 'promoted'], "${Suite.PROMOTE}\n${second}canaryWait()\nenv.STAGE_NAME = 'C'\nmark(canaryWait().id)")
            assert build.printed.last() == '[canary] mark ' + of('web:b')
        }
        suite.check('which promotion is meant is known after restarts at every step') {
            String pipeline = cells + "canaryAbort()\nenv.STAGE_NAME = 'C'\ncanaryAbort()"
            Build quiet = suite.play([scenario: 'held'], pipeline)
            (1..quiet.steps.size()).each { int step ->
                Build build = suite.play([scenario: 'held'], pipeline) { it.plan = [(step): 'restart-after'] }
                suite.same(build, quiet, 2)
                assert suite.server.journal().aborts.size() >= 2
            }
        }
    }
}
