package harness

/** Whatever stands between Jenkins and the API misbehaves, at every request in turn. */
class Faults {
    static void run(Suite suite) {
        suite.group('the way is disturbed at every request') {
            Build calm = suite.play([scenario: 'promoted', cut: 2])
            ['500', '502', '503', '429', 'login', 'page', 'otherjson', 'lost', 'cut', 'refused', 'hang', 'gone'].each { fault ->
                (1..calm.requests).each { int request ->
                    if (fault != 'gone' || request > 1) {
                        suite.check("${fault} at request ${request}") {
                            suite.same(suite.play([scenario: 'promoted', cut: 2], Suite.PROMOTE) { it.faults = [(request): fault] }, calm)
                        }
                    }
                }
                suite.check("${fault} three times in a row") {
                    suite.same(suite.play([scenario: 'promoted', cut: 2], Suite.PROMOTE) { it.faults = [3: fault, 4: fault, 5: fault] }, calm)
                }
            }
            suite.check('every second request is disturbed') {
                List kinds = ['500', 'lost', 'page', '429', 'login', 'cut', 'refused']
                suite.same(suite.play([scenario: 'promoted', cut: 2], Suite.PROMOTE) { it.faults = (1..200).findAll { it % 2 }.collectEntries { [it, kinds[it.intdiv(2) % kinds.size()]] } }, calm)
            }
        }
        suite.group('limits of patience') {
            ['500', 'page', 'refused', 'lost'].each { fault ->
                suite.check("${fault} for ever") {
                    long began = Clock.now()
                    Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE + ', timeoutMinutes: 10') { it.faults = ['*': fault] }
                    suite.sound(build)
                    assert build.result == 'FAILURE' && build.failure.message.contains('no answer in time')
                    assert (Clock.now() - began).intdiv(60000) in [10L, 11L] && build.requests + build.probes in 30..60
                }
            }
            suite.check('Retry-After is heeded') {
                List took = [[:], [1: '429']].collect { Map faults ->
                    long began = Clock.now()
                    suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = faults }
                    Clock.now() - began
                }
                assert took[1] - took[0] in 7000L..8000L
            }
            suite.check('long polls that come back at once are no tight loop') {
                Build build = suite.play([scenario: 'never'], Suite.PROMOTE + ', timeoutMinutes: 2') { it.server.hurried = true }
                suite.server.hurried = false
                suite.sound(build)
                assert build.requests < 120
            }
            [nocanary: 'no Canary "web" in \\ namespace "shop"', conflict: 'another promotion is not over (p-other)', frozen: 'a freeze is in force until Monday'].each { scenario, detail ->
                suite.check("${scenario} is an error at once, in the server's words") {
                    Build build = suite.play([scenario: scenario])
                    suite.sound(build)
                    assert build.result == 'FAILURE' && build.failure.message.contains(detail) && build.requests == 1
                }
            }
            suite.check('a wrong address is an error at once') {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE) { it.faults = [1: 'gone'] }
                assert build.result == 'FAILURE' && build.requests == 1
            }
            suite.check('a wrong token is an error at once, and is not printed') {
                suite.server.reset([scenario: 'promoted'])
                Build build = new Build(new Server(suite.server.url, 'another-token'))
                build.run(Suite.PROMOTE)
                suite.sound(build)
                assert build.result == 'FAILURE' && build.requests == 1 && build.failure.message.contains('nobody is known')
            }
            suite.check('a credential that is not there is an error at once') {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE + ", credentialsId: 'nope'")
                assert build.result == 'FAILURE' && build.requests == 0 && build.steps == ['httpRequest', 'bind', 'error']
                assert build.failure.message.contains('infrastructure fault, no verdict about the release: no token could be had from the credential nope (Could not find')
            }
        }
    }
}
