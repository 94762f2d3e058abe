package harness

/** Runs cases, counts them, and says which failed. */
class Suite {
    static final String PROMOTE = "canaryPromote canary: 'shop/web', image: 'registry.example/web:1.2'"
    /** After so many failures the rest tells nothing new. */
    private static final int ENOUGH = 40
    static final Map RESULTS = [promoted: 'SUCCESS', rolledback: 'FAILURE', failed: 'FAILURE', superseded: 'ABORTED', aborted: 'ABORTED']

    final Server server
    int cases = 0
    List failed = []
    private String group
    private int groupCases
    private long began

    Suite(Server server) {
        this.server = server
    }

    void group(String name, Closure body) {
        group = name
        groupCases = 0
        began = System.nanoTime()
        int failedBefore = failed.size()
        body()
        String verdict = failed.size() == failedBefore ? 'ok' : "${failed.size() - failedBefore} FAILED"
        println String.format('%-58s %4d cases %6.1f s  %s', name, groupCases, (System.nanoTime() - began) / 1e9d, verdict)
        System.out.flush()
    }

    void check(String name, Closure body) {
        if (failed.size() >= ENOUGH) {
            return
        }
        cases++
        groupCases++
        try {
            body()
        } catch (Throwable problem) {
            failed << "${group}: ${name}"
            if (failed.size() <= 20) {
                println "  FAILED ${group}: ${name}\n    " + problem.toString().readLines().take(30).join('\n    ')
            }
        }
    }

    /** One build on a fresh server. */
    Build play(Map options, String pipeline = PROMOTE, Closure prepare = null) {
        server.reset(options)
        return again(pipeline, prepare)
    }

    /** One more build on the same server. */
    Build again(String pipeline = PROMOTE, Closure prepare = null, Map env = [:]) {
        Build build = new Build(server, env)
        if (prepare) {
            build.saveAlways = false
            prepare(build)
        }
        build.run(pipeline)
        return build
    }

    /** What every build must be, however it was disturbed. */
    void sound(Build build) {
        assert build.violations.empty
        assert !(build.failure instanceof NotSerializableException)
        Closure broken = { Throwable t -> t instanceof MissingMethodException || t instanceof MissingPropertyException || t instanceof NullPointerException || t instanceof ClassCastException }
        assert !broken(build.failure)
        // What the library makes of every exception; its own faults must not hide there.
        (build.printed + [build.failure?.message ?: '']).each { assert !(it =~ /(MissingMethod|MissingProperty|NullPointer|ClassCast|NotSerializable|Security)Exception/) }
    }

    /** The same end as the undisturbed build: result, lines and one promotion. */
    void same(Build build, Build calm, int created = 1) {
        sound(build)
        assert build.result == calm.result : build.failure
        assert build.logLines() == calm.logLines()
        assert server.journal().created == created
    }

    List serverLines() {
        String log = server.journal().log
        return log.empty ? [] : (log.endsWith('\n') ? log[0..-2] : log).split('\n') as List
    }

    int end() {
        println(failed.empty ? "${cases} cases passed" : "${failed.size()} of ${cases} cases FAILED:\n  " + failed.take(60).join('\n  '))
        return failed.empty ? 0 : 1
    }
}
