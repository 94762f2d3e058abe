package harness

/** What goes over the line and into the log: tokens, redirects, plugins, keys, who asks, and what others have written. */
class Channel {
    private static final String START = "def state = ${Suite.PROMOTE}, wait: false\n"
    private static final String GATE = START + "canaryGate(canary: 'shop/web', promotion: state.id, gate: 'confirm-promotion') {\n  mark('in the gate')\n  BODY\n}\n" + Suite.PROMOTE
    /** What a terminal or a reader of logs would obey. */
    private static final String UNSAFE = '[\\u0000-\\u0008\\u000B-\\u001F\\u007F-\\u009F\\u202A-\\u202E\\u2066-\\u2069]'

    static void run(Suite suite) {
        suite.group('plugins') {
            ['httpRequest', 'withCredentials', 'string'].each { step ->
                suite.check("without the step ${step} nothing is sent with a token, and the build says what is missing") {
                    Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.missing = [step] }
                    suite.sound(build)
                    assert build.result == 'FAILURE' && build.failure.message.contains("No such DSL method '${step}'. The library needs the plugins")
                    assert !build.failure.message.contains('archive') && suite.server.journal().requests.empty
                }
            }
            suite.check('the plugins of all steps that the library calls are in the README') {
                Map plugins = [httpRequest: 'HTTP Request', withCredentials: 'Credentials Binding', string: 'Plain Credentials', echo: 'Pipeline: Basic Steps',
                    error: 'Pipeline: Basic Steps', sleep: 'Pipeline: Basic Steps', unstable: 'Pipeline: Basic Steps']
                String named = new File(Paths.library, 'README.md').readLines('UTF-8').find { it.contains('**Plugins.**') }
                Set called = []
                Paths.library.eachFileRecurse {
                    if (it.name.endsWith('.groovy') && !it.path.contains('/test/')) {
                        (it.getText('UTF-8') =~ /\bsteps\.([a-zA-Z]+)\(/).each { match -> called << match[1] }
                    }
                }
                assert called == ['httpRequest', 'withCredentials', 'string', 'echo', 'error', 'sleep'] as Set
                plugins.each { step, plugin -> assert named.contains(plugin) }
                assert !named.contains('Utility')
            }
        }
        suite.group('tokens, redirects and proxies') {
            secrets(suite)
        }
        suite.group('keys') {
            keys(suite)
        }
        suite.group('who asks') {
            requesters(suite)
        }
        suite.group('what others have written') {
            foreign(suite)
        }
    }

    private static void secrets(Suite suite) {
        suite.check('no program that is written to the disk has the token, at any step of any call') {
            Build build = suite.play([scenario: 'held'], GATE.replace('BODY', 'sleep(time: 5)') + "\ncanaryStatus canary: 'shop/web'\ncanaryWait()")
            suite.sound(build)
            assert build.result == 'SUCCESS' && build.saves == build.steps.size() && build.steps.count('httpRequest') > 12
            Build disturbed = suite.play([scenario: 'promoted'], Suite.PROMOTE)
            assert disturbed.violations.empty
            suite.server.reset([scenario: 'promoted'])
            disturbed = new Build(suite.server)
            disturbed.faults = [1: 'lost', 2: '503', 4: '401', 5: 'hang', 6: 'page', 7: '401']
            disturbed.run(Suite.PROMOTE)
            suite.sound(disturbed)
            assert disturbed.saves == disturbed.steps.size() && disturbed.result == 'SUCCESS'
        }
        [Suite.PROMOTE, "canaryStatus canary: 'shop/web'", "canaryWait namespace: 'shop', id: 'p-1'", "canaryAbort namespace: 'shop', promotion: 'p-1'",
            "canaryApprove namespace: 'shop', promotion: 'p-1', gate: 'g', minutes: 1"].each { pipeline ->
            suite.check("where all is redirected to another host no token goes there: ${pipeline}") {
                Build build = suite.play([scenario: 'promoted'], pipeline + (pipeline == Suite.PROMOTE ? ', timeoutMinutes: 1' : '')) { it.faults = ['*': 'away'] }
                suite.sound(build)
                Map journal = suite.server.journal()
                assert build.result == 'FAILURE' && build.failure.message.contains('infrastructure fault') && build.requests == 0
                assert journal.stolen.size() > 3 && journal.stolen.every { it == null } && journal.requests.empty
            }
        }
        suite.check('after an answer that is not the API\'s the next request is preceded by one without a token') {
            Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [3: 'page']; it.probeFaults = [2: 'away', 3: 'away'] }
            suite.sound(build)
            Map journal = suite.server.journal()
            assert build.result == 'SUCCESS' && build.probes == 4 && journal.stolen == [null, null]
        }
        suite.check('a redirect of the request that starts is not followed') {
            Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [1: 'away'] }
            suite.sound(build)
            assert build.result == 'SUCCESS' && suite.server.journal().stolen.empty
            assert build.printed.any { it.contains('redirected (302) to http://localhost') }
        }
        suite.check('plain http is warned about, once in a call') {
            Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE + ", url: 'http://bellwether.example'")
            suite.sound(build)
            assert build.result == 'SUCCESS' && build.printed.count { it.contains('http://bellwether.example is not https; the token is sent in clear text') } == 1
            assert !suite.play([scenario: 'promoted']).printed.any { it.contains('clear text') }
        }
        suite.check('a proxy is passed on') {
            Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE + ", httpProxy: 'http://proxy.example:3128'")
            suite.sound(build)
            assert build.lastRequest.httpProxy == 'http://proxy.example:3128'
            assert !suite.play([scenario: 'promoted']).lastRequest.containsKey('httpProxy')
            assert suite.play([scenario: 'promoted'], Suite.PROMOTE + ", httpProxy: 'proxy'").failure.message.contains('httpProxy must be')
        }
    }

    private static void keys(Suite suite) {
        String cells = "canaryPromote canary: 'shop/web', image: 'web:linux'KEY1, wait: false\ncanaryPromote canary: 'shop/web', image: 'web:windows'KEY2"
        suite.check('two cells of a matrix that ask for different things with one key are told what to do') {
            Build build = suite.play([scenario: 'promoted'], cells.replaceAll('KEY.', ''))
            suite.sound(build)
            assert build.result == 'FAILURE' && build.requests == 2 && suite.server.journal().created == 1
            assert build.failure.message.contains('the same key with another body') && build.failure.message.contains("give each call a key of its own: key: 'a name'")
        }
        suite.check('cells with a key of their own have promotions of their own') {
            Build build = suite.play([scenario: 'promoted'], cells.replace('KEY1', ", key: 'linux'").replace('KEY2', ", key: 'windows'"))
            suite.sound(build)
            assert build.result == 'SUCCESS' && suite.server.journal().created == 2
        }
        suite.check('a key is the same when the block is tried again, and another in another build') {
            String pipeline = "retry(2) {\n${Suite.PROMOTE}, key: 'linux'\n}"
            Build build = suite.play([scenario: 'rolledback'], pipeline)
            suite.sound(build)
            assert build.result == 'FAILURE' && suite.server.journal().created == 1 && build.logLines() == suite.serverLines()
            suite.again(pipeline, null, [BUILD_URL: 'https://ci.example/job/shop/job/web/43/', BUILD_TAG: 'jenkins-shop-web-43'])
            assert suite.server.journal().created == 2
        }
        suite.check('a try again while the promotion is under way goes on waiting for it') {
            Build build = suite.play([scenario: 'promoted'], "retry(2) {\n${Suite.PROMOTE}, wait: false\nif (!env.TRIED) { env.TRIED = 'yes'\nerror('lost') }\n}\ncanaryWait()")
            suite.sound(build)
            assert build.result == 'SUCCESS' && suite.server.journal().created == 1 && build.logLines() == suite.serverLines()
        }
    }

    private static void requesters(Suite suite) {
        [['the person who started it', [[userId: 'mia']], [], 'mia'], ['the person who started the build above', [], [[[userId: 'leo']]], 'leo'],
            ['the person at the top, however far', [], [[], [[userId: 'ada']]], 'ada'], ['nobody, where a timer did', [], [], null]].each { List row ->
            suite.check("the requester is ${row[0]}") {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { Build b -> b.causes = row[1]; b.upstream = row[2] }
                suite.sound(build)
                assert suite.server.journal().bodies[0].requester.user == row[3]
            }
        }
        suite.check('everybody who is behind the build is named') {
            Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { Build b ->
                b.causes = [[userId: 'mia'], [userId: 'ada']]
                b.upstream = [[[userId: 'leo']], [[userId: 'mia'], [userId: 'eve\u001b']]]
            }
            suite.sound(build)
            Map requester = suite.server.journal().bodies[0].requester
            assert requester.user == 'mia' && requester.onBehalfOf == ['ada', 'leo', 'eve?']
        }
        suite.check('a key of one\'s own hides nobody') {
            suite.play([scenario: 'promoted'], Suite.PROMOTE + ", idempotencyKey: 'release-1.2'")
            assert suite.server.journal().bodies[0].requester.user == 'mia'
        }
        ['canaryApprove canary: \'shop/web\', gate: \'confirm-promotion\', submitter: \'eve\', comment: \'seen\'',
            'canaryGate(canary: \'shop/web\', gate: \'confirm-promotion\', submitter: \'eve\', comment: \'seen\') { mark(\'x\') }'].each { call ->
            suite.check("who answered an input is passed on: ${call.substring(0, 12)}") {
                Build build = suite.play([scenario: 'held'], START + call)
                suite.sound(build)
                assert build.result == 'SUCCESS' && suite.server.journal().gates*.comment == ['decided by eve in Jenkins: seen']
                assert suite.server.journal().gates*.onBehalfOf == [['eve']]
            }
        }
        suite.check('the example with the command line has a key that no other build has, and no example has a secret of GitLab') {
            String page = new File(Paths.library.parentFile, 'docs/command-line.md').getText('UTF-8')
            String jenkins = (page =~ /(?s)```groovy\n(.*?)```/)[0][1]
            String gitlab = (page =~ /(?s)GitLab;.*?```yaml\n(.*?)```/)[0][1]
            String wanted = (jenkins =~ /"BELLWETHER_KEY=(.*?)"/)[0][1]
            List keys = [[0, 42], [1, 42], [0, 43]].collect { List row ->
                Build build = suite.again("mark(\"${wanted}\")", { it.timeInMillis += row[0] }, [BUILD_URL: "https://ci.example/job/shop/job/web/${row[1]}/"])
                suite.sound(build)
                build.printed.last().substring('[canary] mark '.length())
            }
            assert keys.toSet().size() == 3 && keys.every { it ==~ /[!-~]{1,200}/ }
            [gitlab, new File(Paths.library.parentFile, 'examples/ci/gitlab-ci.yaml').getText('UTF-8')].each {
                assert it =~ /(?m)^  id_tokens:\n    BELLWETHER_TOKEN:\n      aud: bellwether\n/
            }
        }
        suite.check('examples ask for few rights, and name who triggered a run again') {
            String github = new File(Paths.library.parentFile, 'examples/ci/github-actions.yaml').getText('UTF-8')
            assert github.contains('permissions:') && github.contains('id-token: write') && !github.contains('write-all')
            assert github.contains('github.triggering_actor') && !github.contains('github.actor')
        }
    }

    private static void foreign(Suite suite) {
        Closure clean = { Build build ->
            suite.sound(build)
            (build.printed + [build.failure?.message ?: '', build.description ?: '']).each { String text ->
                assert !(text =~ UNSAFE)
                text.readLines().each { assert !(it =~ /^\s*::/) }
            }
        }
        suite.check('log, message, checks and description') {
            Build build = suite.play([scenario: 'evil'], Suite.PROMOTE + ', describe: true')
            clean(build)
            assert build.printed.any { it.contains('plain\n: :error::forged\n?]0;title??31m ? ? ?over') }
            assert build.failure.message.contains('bad?[2J??::error::x')
        }
        suite.check('what is said when a request is refused, and when it is asked again') {
            clean(suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [1: 'evil', 3: 'evil'] })
            Build refused = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [1: 'evil-refusal'] }
            clean(refused)
            assert refused.failure.message.contains('?[2J??::error::x : :warning::y')
        }
        suite.check('a hold, and a refusal of an order') {
            clean(suite.play([scenario: 'evil-gate'], GATE.replace('BODY', '').replace("-promotion')", "-promotion', minutes: 1)")))
            clean(suite.play([scenario: 'held', refusal: '\u001b[2J\r\u202e'], START + "canaryApprove gate: 'g'"))
        }
        suite.check('what people typed goes out clean: the API would refuse an order with an escape sequence') {
            String evil = 'a\\u001b[31m b\\r\\nc \\u202e'
            suite.play([scenario: 'held'], GATE.replace('BODY', "error('${evil}')"))
            assert suite.server.journal().gates*.comment == ['jenkins-shop-web-42: a?[31m b c ?']
            suite.play([scenario: 'never'], START + "canaryAbort reason: '${evil}'")
            assert suite.server.journal().aborts*.reason == ['a?[31m b c ?']
            suite.play([scenario: 'held'], START + "canaryApprove gate: 'g', comment: '${evil}', submitter: 'eve\\u001b'")
            assert suite.server.journal().gates*.comment == ['decided by eve? in Jenkins: a?[31m b c ?']
            suite.server.reset([scenario: 'promoted'])
            suite.again(Suite.PROMOTE, null, [JOB_NAME: 'shop/\u001b[31mweb', GIT_COMMIT: 'x\u202e'])
            assert suite.server.journal().bodies[0].requester.job == 'shop/?[31mweb' && suite.server.journal().bodies[0].requester.commit == 'x?'
        }
        suite.check('nothing is printed that did not come through the one function for it') {
            Paths.library.eachFileRecurse {
                if (it.name.endsWith('.groovy') && !it.path.contains('/test/') && it.name != 'Text.groovy') {
                    String text = it.getText('UTF-8')
                    assert !text.contains('replaceAll') && !text.contains('u001')
                    // A message of somebody else's exception.
                    text.readLines().findAll { it.contains('echo(') && it.contains('.message') }.each { assert it.contains('Text.line') }
                }
            }
        }
    }
}
