package harness

import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.CpsTransformer
import com.cloudbees.groovy.cps.ObjectInputStreamWithLoader
import hudson.AbortException
import java.lang.reflect.InvocationTargetException
import org.codehaus.groovy.control.CompilerConfiguration
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/**
 * One build of a pipeline, run by the interpreter that Jenkins uses.
 *
 * Every step suspends the program. There it is written out and read in again, so that whatever cannot live through a
 * restart of Jenkins fails at once; and there faults are put in: `plan` maps the number of a step to what happens.
 */
class Build {
    static Build current
    static final Environment ENV = new Environment()
    static final Run RUN = new Run()
    static final boolean SANDBOXED = Boolean.getBoolean('sandbox')
    private static final GroovyClassLoader LOADER = loader()
    /** A tight loop ends here; a build against a real server may take hours. */
    private static final int TOO_MANY = Clock.real ? 1000000 : 3000
    private static final Map CLASSES = [:]
    private static final List AT_ONCE = ['echo', 'unstable', 'error', 'mark', 'unbind']

    final Server server
    final Map env
    /**
     * Number of a step → 'restart-before', 'restart-after', 'down-before', 'down-after', 'kill', 'abort', 'abort-after', 'fail', 'agent-gone',
     * 'agent-late'.
     */
    Map plan = [:]
    /** Number of a request → a fault of the fake server, or null for every request. */
    Map faults = [:]
    /** False saves only where the plan has something, for runs whose other steps were saved in another run. */
    boolean saveAlways = true
    List printed = []
    List steps = []
    /** Numbers of the steps that were long polls. */
    List polls = []
    List violations = []
    String result
    String description
    Throwable failure
    boolean killed
    /** When it was scheduled, ms since 1970; a restart does not change it. */
    long timeInMillis = 1767261598765L
    /** Requests with a token, and those without by which the library sees who is there. */
    int requests = 0
    int probes = 0
    /** Number of a probe → a fault, as `faults`. */
    Map probeFaults = [:]
    /** Number of a lookup of the token → what it throws. */
    Map lookups = [:]
    int binds = 0
    /** Steps of plugins that are not installed. */
    List missing = []
    /** What the steps make of the build's graph: four nodes for a block, one for any other. */
    int nodes = 0
    Map lastRequest
    int saves = 0
    /** What a step of the pipeline's own throws, by its name. */
    Map breaks = [:]
    /** Who answers an `input`, after how many milliseconds, and whether by Abort. */
    Map answer = [who: 'mia', after: 0L, abort: false]
    /** What happens elsewhere at the step `meanwhile`. */
    Closure meanwhile = { }
    /** What builds say of who started them: of this one, and of those that triggered it. */
    List causes = [[userId: 'mia']]
    List upstream = []
    long savedBytes = 0
    private final Map scripts = [:]
    private final List limits = []
    private String bound
    private boolean interruptNext = false

    Build(Server server, Map env = [:]) {
        this.server = server
        this.env = [BUILD_TAG: 'jenkins-shop-web-42', STAGE_NAME: 'Promote', JOB_NAME: 'shop/web', BELLWETHER_URL: server.url,
            BUILD_URL: 'https://ci.example/job/shop/job/web/42/', JENKINS_URL: 'https://ci.example/'] + env
    }

    /** Runs the text of a pipeline to its end and returns its value. */
    Object run(String pipeline) {
        current = this
        Continuable program = program(fresh('pipeline', pipeline))
        Object value = null
        Throwable thrown = null
        while (true) {
            Object signal
            try {
                signal = thrown == null ? program.run(value) : program.runByThrow(thrown)
            } catch (InvocationTargetException end) {
                failure = end.cause
                result = result ?: (failure instanceof FlowInterruptedException ? 'ABORTED' : 'FAILURE')
                return null
            }
            if (!program.resumable) {
                result = result ?: 'SUCCESS'
                return signal
            }
            if (saveAlways || plan.containsKey(steps.size() + 1)) {
                program = restored(program)
            }
            value = null
            thrown = null
            try {
                value = perform(signal.step as String, signal.args as List)
            } catch (Throwable problem) {
                thrown = problem
            }
            if (killed) {
                return null
            }
        }
    }

    /** Lines of promotions' logs that were printed; what the library says itself begins with [canary]. */
    List logLines() {
        return printed.findAll { !it.startsWith('[canary]') }.collectMany { it.split('\n', -1) as List }
    }

    private Object perform(String step, List args) {
        steps << step
        nodes += step in ['mark', 'meanwhile', 'unbind', 'unlimit'] ? 0 : step in ['bind', 'limit'] ? 4 : 1
        if (steps.size() > TOO_MANY) {
            throw new AssertionError("more than ${TOO_MANY} steps: it turns in a circle" as Object)
        }
        String happens = plan[steps.size()] ?: plan['*']
        if (happens == 'kill') {
            killed = true
            return null
        }
        if (happens == 'fail') {
            throw new IllegalStateException('put in by the test')
        }
        // Steps that Jenkins runs at once cannot be interrupted; the next one is.
        if (interruptNext && !(step in AT_ONCE)) {
            interruptNext = false
            happens = 'abort'
        } else if (happens in ['abort', 'abort-after'] && step in AT_ONCE) {
            interruptNext = true
            happens = null
        }
        interruptIf(happens == 'abort', 'Aborted by mia')
        interruptIf(happens == 'agent-gone', 'Agent was removed')
        interruptIf(happens == 'agent-late', 'Timeout waiting for agent to come back')
        // A step that does its work on another thread fails when Jenkins comes back; the others go on.
        boolean lost = step == 'httpRequest'
        downIf(happens == 'down-before')
        if (happens in ['restart-before', 'down-before'] && lost) {
            throw new AbortException('Resume after a restart not supported for non-blocking synchronous steps')
        }
        Object value = this."do${step.capitalize()}"(args)
        downIf(happens == 'down-after')
        if (happens in ['restart-after', 'down-after'] && lost) {
            throw new AbortException('Resume after a restart not supported for non-blocking synchronous steps')
        }
        interruptIf(happens == 'abort-after', 'Aborted by mia')
        enforceLimits()
        return value
    }

    private static void interruptIf(boolean condition, String cause) {
        if (condition) {
            throw new FlowInterruptedException(cause)
        }
    }

    /** Jenkins is away for so long that promotions end meanwhile. */
    private void downIf(boolean condition) {
        if (condition) {
            Clock.pass(15 * 60000L)
            server.end()
        }
    }

    private void enforceLimits() {
        Map limit = limits.find { Clock.now() >= it.until }
        if (limit) {
            if (limit.interrupted) {
                violations << 'a block did not end within the minute of grace after its timeout'
            }
            limit.interrupted = true
            limit.until = Clock.now() + 60000L
            throw new FlowInterruptedException('Timeout has been exceeded')
        }
    }

    private Object doEcho(List args) {
        String text = args[0]
        if (text.contains(server.token)) {
            violations << 'the token was printed'
        }
        printed << text
        return null
    }

    private Object doError(List args) {
        throw new AbortException(args[0] as String)
    }

    private Object doUnstable(List args) {
        printed << ('[canary] unstable: ' + args[0])
        result = 'UNSTABLE'
        return null
    }

    private Object doSleep(List args) {
        Clock.pass((args[0].time as long) * 1000L)
        return null
    }

    private Object doMeanwhile(List args) {
        meanwhile.call()
        return null
    }

    private Object doFail(List args) {
        throw breaks[args[0]] as Throwable
    }

    private Object doInput(List args) {
        Clock.pass(answer.after as long)
        interruptIf(answer.abort as boolean, 'Rejected by ' + answer.who)
        return args[0] instanceof Map && args[0].submitterParameter ? answer.who : null
    }

    private Object doMark(List args) {
        printed << ('[canary] mark ' + args[0])
        return null
    }

    private Object doBind(List args) {
        binds++
        if (lookups[binds]) {
            throw lookups[binds] as Throwable
        }
        if (args[0].credentialsId != 'bellwether') {
            throw new AbortException('Could not find credentials entry with ID ' + args[0].credentialsId)
        }
        bound = args[0].variable
        return null
    }

    private Object doUnbind(List args) {
        bound = null
        return null
    }

    private Object doLimit(List args) {
        limits << [until: Clock.now() + (args[0] as long) * 1000L]
        return limits.size()
    }

    private Object doUnlimit(List args) {
        limits.pop()
        return null
    }

    private Object doHttpRequest(List args) {
        Map request = args[0]
        lastRequest = request
        boolean probe = !request.customHeaders.find { it.name == 'Authorization' }
        if (probe) {
            probes++
        } else {
            requests++
        }
        if (request.url.contains('waitSeconds=')) {
            polls << steps.size()
        }
        List problems = []
        if (!probe && !request.customHeaders.find { it.name == 'Authorization' }.maskValue) {
            problems << 'a token was sent without a mask'
        }
        if (request.url.contains(server.token)) {
            problems << 'the token is in an address'
        }
        if (!request.quiet || request.validResponseCodes != '100:599' || !(request.timeout in 1..60)) {
            problems << 'a request was loud, picky or without limit'
        }
        violations.addAll(problems)
        if (probe && server.token in (request.customHeaders*.value + request.requestBody)) {
            violations << 'a request that looks who is there has the token'
        }
        String fault = (probe ? probeFaults[probes] : faults[requests]) ?: faults['*']
        if (fault == 'hang') {
            Clock.pass((request.timeout as long) * 1000L)
            return new Response(status: 408, content: 'java.net.SocketTimeoutException(Read timed out) as 408 Request Timeout')
        }
        if (fault == 'dns') {
            return new Response(status: 404, content: 'UnknownHostException as 404 Not Found')
        }
        if (fault == 'tls') {
            throw new IllegalStateException('javax.net.ssl.SSLHandshakeException: PKIX path building failed: unable to find valid certification path')
        }
        return fault == 'refused' ? new Response(status: 408, content: 'java.net.ConnectException(Connection refused) as 408 Request Timeout')
            : server.exchange(request, fault)
    }

    String variable(String name) {
        return bound == name ? server.token : env.get(name)
    }

    Object script(String name) {
        return scripts[name] ?: fresh(name, null)
    }

    String nameOf(Object script) {
        return scripts.find { it.value.is(script) }.key
    }

    boolean isStep(String name) {
        return new File(Paths.library, "vars/${name}.groovy").exists()
    }

    private Script fresh(String name, String text) {
        String source = text ?: (name == 'blocks' ? new File(Paths.tests, 'harness/blocks.txt') : new File(Paths.library, "vars/${name}.groovy")).getText('UTF-8')
        Class type = CLASSES[source]
        if (type == null) {
            type = LOADER.parseClass(source, "${name}.groovy")
            CLASSES[source] = type
        }
        Script script = type.newInstance()
        scripts[name] = script
        return script
    }

    /** By name, because it needs what is only there when it is used. */
    static Class sandbox() {
        return Build.classLoader.loadClass('harness.Sandbox')
    }

    private static Continuable program(Script script) {
        return SANDBOXED ? sandbox().program(script) : new Continuable(script)
    }

    private static GroovyClassLoader loader() {
        CompilerConfiguration configuration = new CompilerConfiguration()
        configuration.addCompilationCustomizers(SANDBOXED ? sandbox().transformer() : new CpsTransformer())
        configuration.scriptBaseClass = PipelineScript.name
        configuration.sourceEncoding = 'UTF-8'
        GroovyClassLoader loader = new GroovyClassLoader(Build.classLoader, configuration)
        loader.addClasspath(new File(Paths.library, 'src').path)
        return loader
    }

    private Continuable restored(Continuable program) {
        ByteArrayOutputStream saved = new ByteArrayOutputStream()
        new ObjectOutputStream(saved).writeObject(program)
        saves++
        savedBytes = Math.max(savedBytes, saved.size())
        if (new String(saved.toByteArray(), 'ISO-8859-1').contains(server.token)) {
            violations << "the token was saved with the program at step ${steps.size() + 1}"
        }
        // All scripts are made anew: whatever one of them kept for itself is gone, as it is in Jenkins.
        List names = scripts.keySet().findAll { it != 'pipeline' } as List
        names.each { scripts.remove(it) }
        return new ObjectInputStreamWithLoader(new ByteArrayInputStream(saved.toByteArray()), LOADER).readObject() as Continuable
    }
}
