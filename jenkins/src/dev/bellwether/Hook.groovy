package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/**
 * Speaks with Bellwether's hook API, and asks again while the way to it is disturbed.
 *
 * Every request is short, because a restart of Jenkins fails the one that is under way; what is kept between two of them are
 * strings and numbers. The token is never one of them: it is read from the environment where a request is put together, since
 * everything else is written to the disk in clear with the program.
 */
class Hook implements Serializable {
    private static final long serialVersionUID = 1L

    /** Seconds that one long poll waits on the server; a proxy's usual limit is 30 or 60. */
    static final int LONG_POLL_SECONDS = 20
    private static final int REQUEST_SECONDS = 15
    /** How long a token that was good may be refused or not be had, in ms: while keys rotate or a vault is away. */
    private static final long PATIENCE = 180000L
    /** By these words, and nothing else, a caller knows that nothing was said about the release. */
    static final String FAULT = 'infrastructure fault, no verdict about the release: '

    final Object steps
    final String url
    final String credentialsId
    final String httpProxy
    /** The API has answered before: what fails from now on may pass. */
    boolean met = false
    /** The last answer was the API's own, so that the next request may carry the token. */
    private boolean trusted = false
    private boolean warned = false

    Hook(Object steps, String url, Map given) {
        this.steps = steps
        this.url = url
        this.credentialsId = given.credentialsId ?: 'bellwether'
        this.httpProxy = given.httpProxy
    }

    /**
     * Sends a request until it is answered, and fails the step when it is refused or `until` has come.
     *
     * @param request `verb`, `path`, `until` (ms since 1970); optional: `body` (JSON), `key` (idempotency key),
     *     `waitSeconds` (of a long poll), `expects` ('promotion', 'accepted', 'order', 'object' or 'log');
     *     `sent` is set once a try was made, and taken back by a refusal unless `lost` is set: an earlier try may have been taken
     * @return what {@link Answer} made of it
     */
    Map ask(Map request) {
        Map trouble = [:]
        Map answer = once(request)
        while (answer.outcome != 'taken') {
            bear(answer, request, trouble)
            answer = once(request)
        }
        return answer
    }

    /** One try, with a token that is looked up for it. */
    Map once(Map request) {
        Map answer = unready(request)
        if (answer == null) {
            answer = withToken { attempt(request) }
        }
        return answer
    }

    /** What `body` returns, which is run with a token that is looked up for it; or why there is none. */
    Map withToken(Closure body) {
        Map answer = null
        boolean found = false
        try {
            steps.withCredentials([steps.string(credentialsId: credentialsId, variable: 'BELLWETHER_TOKEN')]) {
                found = true
                answer = body()
            }
        } catch (FlowInterruptedException interruption) {
            throw interruption
        } catch (NoSuchMethodError missing) {
            lacks(missing.message)
        } catch (Exception failure) {
            if (found) {
                throw failure
            }
            String why = 'no token could be had from the credential ' + Text.line(credentialsId) + ' (' + Text.line(failure.message ?: failure.toString()) + ')'
            if (!met) {
                // Nobody has mistyped what was there before; at the first contact asking again would not mend it.
                steps.error('[canary] ' + FAULT + why)
            }
            answer = [outcome: 'again', denied: true, tokenless: true, why: why]
        }
        return answer
    }

    /** Waits before the next try, or fails the step. `trouble` is what is known of the tries before. */
    void bear(Map answer, Map request, Map trouble) {
        String what = request.verb + ' ' + url + request.path + ': ' + answer.why
        if (answer.outcome == 'refused') {
            request.sent = request.lost == true
            steps.error('[canary] ' + (answer.fault ? FAULT : '') + what)
        }
        long now = System.currentTimeMillis()
        trouble.tries = (trouble.tries ?: 0) + 1
        trouble.denied = answer.denied ? (trouble.denied ?: now) : null
        if (trouble.denied && now - (trouble.denied as long) >= PATIENCE) {
            steps.error('[canary] ' + FAULT + (answer.tokenless ? 'there is no token for ' : 'the token is refused for ') + PATIENCE.intdiv(60000L) +
                ' minutes now: ' + what)
        }
        // A token that grew old while it was used is no trouble: the next look gets another.
        int pause = answer.stale && trouble.tries == 1 ? 0 : Answer.pause(trouble.tries as int, answer.retryAfter as Integer)
        if (now + pause * 1000L >= (request.until as long)) {
            steps.error('[canary] ' + FAULT + 'no answer in time, gave up after ' + trouble.tries + ' tries: ' + what)
        }
        if (pause > 0) {
            steps.echo('[canary] ' + answer.why + ', asking again in ' + pause + ' s')
            steps.sleep(time: pause, unit: 'SECONDS')
        }
    }

    /**
     * Null if a request may be sent; otherwise what stands in its way.
     *
     * The plugin follows redirects, and older releases of it take all headers along. So the first request, and each after an
     * answer that was not the API's, is preceded by one without a token, which the API refuses in its own words.
     */
    Map unready(Map request) {
        if (trusted) {
            return null
        }
        warn()
        String path = (request.path as String)
        String place = path.contains('?') ? path.substring(0, path.indexOf('?')) : path
        Map answer = Answer.judge(exchange([verb: 'GET', path: place, until: request.until, expects: 'object', probe: true]), request, met)
        trusted = answer.api == true
        return trusted ? null : answer
    }

    void warn() {
        if (!warned && isPlain(url)) {
            steps.echo('[canary] warning: ' + url + ' is not https; the token is sent in clear text')
        }
        warned = true
    }

    @NonCPS
    private static boolean isPlain(String url) {
        return url.startsWith('http://') && !url.matches('http://(localhost|127[.][0-9.]+|\\[::1\\])(:[0-9]+)?(/.*)?')
    }

    /** Sends a request once, within the block that binds the token. */
    Map attempt(Map request) {
        Map answer = Answer.judge(exchange(request), request, met)
        trusted = answer.api == true
        met = met || answer.outcome == 'taken'
        // A token that is refused is refused before anything is done; of all else nobody knows what became of it.
        request.lost = request.lost || (answer.outcome == 'again' && !answer.denied)
        return answer
    }

    private Map exchange(Map request) {
        // Not much longer than there is time: an interrupted block has a minute for everything that it still does.
        int left = ((request.until as long) - System.currentTimeMillis()).intdiv(1000) as int
        int seconds = Math.max(3, Math.min(REQUEST_SECONDS + ((request.waitSeconds ?: 0) as int), left + 5))
        Map call = [url: url + request.path, httpMode: request.verb, timeout: seconds, quiet: true, validResponseCodes: '100:599',
            consoleLogResponseBody: false, contentType: request.body ? 'APPLICATION_JSON' : 'NOT_SET', requestBody: request.body ?: '']
        if (httpProxy) {
            call.put('httpProxy', httpProxy)
        }
        request.sent = true
        try {
            def response = steps.httpRequest(call + [customHeaders: Answer.headersFor(request, request.probe ? null : steps.env.BELLWETHER_TOKEN as String)])
            return [status: response.status, body: response.content ?: '', headers: Answer.plain(response.headers)]
        } catch (FlowInterruptedException interruption) {
            throw interruption
        } catch (Exception failure) {
            // Also what a restart of Jenkins makes of a request that was under way.
            return [status: 0, body: '', headers: [:], failure: Answer.without(failure.message, steps.env.BELLWETHER_TOKEN as String)]
        } catch (NoSuchMethodError missing) {
            lacks(missing.message)
        }
    }

    /** A step that this Jenkins does not have; nothing was sent. */
    void lacks(String message) {
        String step = Text.line(message)
        int end = step.indexOf(' found among')
        steps.error('[canary] ' + FAULT + (end < 0 ? step : step.substring(0, end)) +
            '. The library needs the plugins HTTP Request, Credentials Binding and Plain Credentials')
    }
}
