package harness

/** The same against a server that is really there: time passes, images are promoted and rolled back. */
class RealServer {
    static void run(Suite suite, Map options) {
        String run = Long.toString(System.currentTimeMillis(), 36)
        [good: ['SUCCESS'], bad: ['FAILURE']].each { kind, results ->
            String image = options['image-' + kind]
            String pipeline = "canaryPromote canary: '${options.namespace}/${options.canary}', image: '${image}', timeoutMinutes: 30, conflict: 'queue'"
            Map env = [BUILD_TAG: "jenkins-test-${run}-${kind}", BUILD_URL: "https://ci.example/job/test/${run}-${kind}/"]
            Build live = null
            suite.group("${kind} image, live, Jenkins restarts at every third step") {
                suite.check(image) {
                    Build killed = suite.again(pipeline, { it.plan = [9: 'kill'] }, env)
                    live = suite.again(pipeline, { it.plan = (1..100000).findAll { it % 3 == 2 }.collectEntries { [it, 'restart-after'] } }, env)
                    live.printed.each { println '    ' + it.replace('\n', '\n    ') }
                    suite.sound(live)
                    assert results.contains(live.result)
                    assert !live.logLines().empty && live.logLines().take(killed.logLines().size()) == killed.logLines()
                    assert live.logLines().size() == live.logLines().findAll { it }.size()
                }
            }
            if (live == null) {
                return
            }
            Build calm = suite.again(pipeline, null, env)
            suite.group("${kind} image, over, run again with its key") {
                suite.check('the same result and the same lines') {
                    suite.sound(calm)
                    assert calm.result == live.result && calm.logLines() == live.logLines()
                }
                (1..calm.steps.size()).each { int step ->
                    ['restart-before', 'restart-after', 'kill'].each { happens ->
                        suite.check("${happens} at step ${step}, ${calm.steps[step - 1]}") {
                            Build build = suite.again(pipeline, { it.plan = [(step): happens] }, env)
                            build = build.killed ? suite.again(pipeline, { }, env) : build
                            suite.sound(build)
                            assert build.result == live.result && build.logLines() == live.logLines()
                        }
                    }
                }
            }
        }
    }
}
