package harness

/** What a promotion's result makes of the build, and what is printed. */
class Outcomes {
    static void run(Suite suite) {
        suite.group('a result becomes the build\'s, the log is printed') {
            Suite.RESULTS.each { scenario, result ->
                suite.check(scenario) {
                    Build build = suite.play([scenario: scenario])
                    suite.sound(build)
                    assert build.result == result
                    assert build.logLines() == suite.serverLines()
                    assert (build.failure == null) == (result == 'SUCCESS')
                }
            }
            suite.check('the failing check is in the message') {
                assert suite.play([scenario: 'rolledback']).failure.message.contains('request-success-rate 91.25 (≥ 99 %)')
            }
            suite.check('a result of the future is no success') {
                Build build = suite.play([scenario: 'unknown'])
                assert build.result == 'FAILURE'
                assert build.failure.message.contains('Vanished')
            }
            suite.check('rolled back may be UNSTABLE') {
                Build build = suite.play([scenario: 'rolledback'], Suite.PROMOTE + ", onRolledBack: 'UNSTABLE'")
                assert build.result == 'UNSTABLE' && build.failure == null
            }
            suite.check('rolled back may be ABORTED') {
                assert suite.play([scenario: 'rolledback'], Suite.PROMOTE + ", onRolledBack: 'ABORTED'").result == 'ABORTED'
            }
            suite.check('failed is never UNSTABLE') {
                assert suite.play([scenario: 'failed'], Suite.PROMOTE + ", onRolledBack: 'UNSTABLE'").result == 'FAILURE'
            }
            suite.check('the state is returned') {
                Build build = suite.play([scenario: 'promoted'], "def state = ${Suite.PROMOTE}\nmark(state.result + ' ' + state.exitCode + ' ' + state.revision)")
                assert build.printed.last() == '[canary] mark Promoted 0 03cb9eb50e56'
            }
            suite.check('the description has a link when asked') {
                Build build = suite.play([scenario: 'promoted'], Suite.PROMOTE + ', describe: true')
                assert build.description =~ /^shop\/web: Promoted http.*\/promotions\/p-[0-9a-f]+$/
                assert suite.play([scenario: 'promoted']).description == null
            }
        }
        suite.group('a log that is cut anywhere while it is written') {
            ['promoted', 'rolledback'].each { scenario ->
                (0..48).each { cut ->
                    suite.check("${scenario}, ${cut} bytes are missing") {
                        Build build = suite.play([scenario: scenario, cut: cut], Suite.PROMOTE) { }
                        suite.sound(build)
                        assert build.logLines() == suite.serverLines()
                    }
                }
            }
            suite.check('no end of line at the end') {
                Build build = suite.play([scenario: 'notail', cut: 5])
                assert build.logLines() == suite.serverLines()
            }
            suite.check('two clusters, in which the promotion has the same id') {
                String elsewhere = suite.server.url.replace('127.0.0.1', 'localhost')
                Build build = suite.play([scenario: 'promoted'], "${Suite.PROMOTE}\n${Suite.PROMOTE}, url: '${elsewhere}'\n${Suite.PROMOTE}, url: '${elsewhere}'")
                suite.sound(build)
                assert build.logLines() == suite.serverLines() * 2
            }
            suite.check('a promotion that is called off in the second of two clusters') {
                String elsewhere = suite.server.url.replace('127.0.0.1', 'localhost')
                Build build = suite.play([scenario: 'rolledback'], "def state = ${Suite.PROMOTE}, onRolledBack: 'UNSTABLE'\n" +
                    "canaryAbort canary: 'shop/web', promotion: state.id, url: '${elsewhere}'\n" * 2)
                suite.sound(build)
                assert build.logLines() == suite.serverLines() * 2
            }
            suite.check('a replica that is behind') {
                Build build = suite.play([scenario: 'promoted', cut: 3, stale: true])
                suite.sound(build)
                assert build.logLines() == suite.serverLines() && build.result == 'SUCCESS'
            }
            suite.check('lines that the server no longer keeps') {
                suite.play([scenario: 'promoted', keep: 60])
                Build build = suite.again()
                suite.sound(build)
                assert build.logLines() == suite.serverLines().drop(3)
                assert build.printed.any { it.contains('bytes of the log are no longer kept') }
            }
        }
        suite.group('what is asked for') {
            suite.check('the body') {
                Build build = suite.play([scenario: 'promoted'], "def tag = '1.2'\ncanaryPromote canary: 'shop/web', images: [web: \"web:\${tag}\", proxy: 'p:1'], conflict: 'queue', onAbort: 'pause', timeoutMinutes: 10")
                suite.sound(build)
                Map body = suite.server.journal().bodies[0]
                assert body.images == [web: 'web:1.2', proxy: 'p:1'] && !body.containsKey('image')
                assert body.policy == [conflict: 'queue', onAbort: 'pause', deadlineSeconds: 600]
                assert body.requester.buildNumber == 42 && body.requester.user == 'mia' && !body.requester.containsKey('commit')
            }
            suite.check('await') {
                suite.play([scenario: 'promoted'], "canaryPromote canary: 'shop/web', await: [revision: '03cb9eb50e56']")
                assert suite.server.journal().bodies[0].await == [revision: '03cb9eb50e56']
            }
            suite.check('another stage is another promotion') {
                suite.play([scenario: 'promoted'])
                suite.again(Suite.PROMOTE, null, [STAGE_NAME: 'Übergabe → prod'])
                assert suite.server.journal().created == 2
            }
            suite.check('long names still make different keys') {
                suite.play([scenario: 'promoted'])
                ['a', 'b'].each { suite.again(Suite.PROMOTE, null, [BUILD_URL: 'https://ci.example/' + 'x' * 400 + it]) }
                ['a', 'b'].each { suite.again(Suite.PROMOTE, null, [STAGE_NAME: 'ü' * 400 + it]) }
                assert suite.server.journal().created == 5
            }
            suite.check('a build of a job that was made anew is another promotion') {
                suite.play([scenario: 'promoted'])
                Build build = suite.again(Suite.PROMOTE) { it.timeInMillis += 1 }
                suite.sound(build)
                assert suite.server.journal().created == 2
            }
            suite.check('jobs and controllers of which the build has the same tag have promotions of their own') {
                suite.play([scenario: 'promoted'])
                suite.again(Suite.PROMOTE, null, [BUILD_URL: 'https://ci.example/job/shop-web/42/'])
                suite.again(Suite.PROMOTE, null, [BUILD_URL: 'https://ci2.example/job/shop/job/web/42/'])
                assert suite.server.journal().created == 3
            }
            suite.check('a Jenkins that does not know its own address has the tag in the key') {
                String pipeline = 'env.BUILD_URL = null\n' + Suite.PROMOTE
                Build first = suite.play([scenario: 'promoted'], pipeline)
                suite.again(pipeline, null, [BUILD_TAG: 'jenkins-shop-web-43'])
                suite.sound(first)
                assert suite.server.journal().created == 2
            }
            suite.check('a key of one\'s own finds the promotion from another build') {
                String pipeline = Suite.PROMOTE + ", idempotencyKey: 'release-1.2'"
                Build first = suite.play([scenario: 'promoted'], pipeline)
                Build second = suite.again(pipeline, null, [BUILD_TAG: 'jenkins-shop-web-43', BUILD_URL: 'https://ci.example/43/'])
                suite.same(second, first)
            }
            suite.check('a key of this build says which build it is') {
                suite.play([scenario: 'promoted'], Suite.PROMOTE + ", idempotencyKey: env.BUILD_TAG + '-web'")
                assert suite.server.journal().bodies[0].requester.buildNumber == 42
            }
            suite.check('the same key for something else is an error') {
                suite.play([scenario: 'promoted'])
                Build build = suite.again("canaryPromote canary: 'shop/web', image: 'other:1'")
                assert build.result == 'FAILURE' && build.failure.message.contains('the same key with another body')
            }
            suite.check('starting without waiting, and waiting later') {
                Build build = suite.play([scenario: 'promoted'], "${Suite.PROMOTE}, wait: false\nmark('between')\n${Suite.PROMOTE}")
                suite.sound(build)
                assert build.logLines() == suite.serverLines() && suite.server.journal().created == 1
                assert build.printed.indexOf('[canary] mark between') < 2
            }
            ['image: "web:${env.GIT_COMMIT}"', 'image: "${env.IMAGE}"', 'image: "${env.REGISTRY}/web:1"', 'image: "ci.example/${env.TEAM}/web:1"', 'image: "web@${env.DIGEST}"',
             "images: [proxy: 'p:1', web: \"web:\${env.GIT_COMMIT}\"]", 'await: [image: "web:${env.GIT_COMMIT}"]', 'await: [images: [web: "web:${env.GIT_COMMIT}"]]'].each { wish ->
                suite.check("a variable that is not set is named: ${wish}") {
                    Build build = suite.play([scenario: 'promoted'], "canaryPromote canary: 'shop/web', ${wish}")
                    suite.sound(build)
                    assert build.failure.message.contains('has null where a variable was not set') && build.requests == 0
                }
            }
            ['nullable:1', 'web:1-nullable', 'not-null/web:null.1', 'nullnull'].each { image ->
                suite.check("an image that only looks like it is taken: ${image}") {
                    assert suite.play([scenario: 'promoted'], "canaryPromote canary: 'shop/web', image: '${image}'").result == 'SUCCESS'
                }
            }
            ["canary: 'web', image: 'a'", "canary: 'shop/web'", "canary: 'shop/web', image: 'a', images: [a: 'b']", "canary: 'shop/web', image: 'a', timout: 3",
             "canary: 'shop/web', image: 'a', conflict: 'fight'", "canary: 'shop/web', image: 'a', timeoutMinutes: 'soon'", "canary: 'shop/web', image: 'a', url: 'ftp://x'",
             "canary: 'shop/../x', image: 'a'"].each { arguments ->
                suite.check("refused: ${arguments}") {
                    Build build = suite.play([scenario: 'promoted'], 'canaryPromote ' + arguments)
                    suite.sound(build)
                    assert build.result == 'FAILURE' && build.failure.message.startsWith('canaryPromote: ') && build.requests == 0
                }
            }
        }
    }
}
