package dev.bellwether

import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/**
 * Speaks with Bellwether's hook API, and asks again while the way to it is disturbed.
 *
 * Every request is short, because a restart of Jenkins fails the one that is under way; what is kept between
 * two of them are strings and numbers. The token is looked up for each request, so that a credential that
 * mints short-lived ones works for a promotion of any length.
 */
class Hook implements Serializable {
    private static final long serialVersionUID = 1L

    /** Seconds that one long poll waits on the server; a proxy's usual limit is 30 or 60. */
    static final int LONG_POLL_SECONDS = 20
    private static final int REQUEST_SECONDS = 15

    final Object steps
    final String url
    final String credentialsId

    Hook(Object steps, String url, String credentialsId) {
        this.steps = steps
        this.url = url
        this.credentialsId = credentialsId
    }

    /**
     * Sends a request until it is answered, and fails the step when it is refused or `until` has come.
     *
     * @param request `verb`, `path`, `until` (ms since 1970); optional: `body` (JSON), `key` (idempotency key),
     *     `waitSeconds` (of a long poll), `expects` ('promotion', 'accepted', 'order', 'object' or 'log'), `known` (the address has
     *     answered before, so that a 404 without a problem document is a proxy's and not a wrong address);
     *     and `sent` is set once a try was made
     * @return what {@link Answer} made of it, with `document` where JSON was expected
     */
    Map ask(Map request) {
        int tries = 0
        while (true) {
            Map answer = Answer.judge(send(request), request)
            if (answer.outcome == 'taken' && answer.json) {
                answer = parse(answer, request)
            }
            if (answer.outcome == 'taken') {
                return answer
            }
            String what = request.verb + ' ' + url + request.path + ': ' + answer.why
            if (answer.outcome == 'refused') {
                steps.error('[canary] ' + what)
            }
            tries++
            int pause = Answer.pause(tries, answer.retryAfter as Integer)
            if (System.currentTimeMillis() + pause * 1000L >= (request.until as long)) {
                steps.error('[canary] no answer in time, gave up after ' + tries + ' tries: ' + what)
            }
            steps.echo('[canary] ' + answer.why + ', asking again in ' + pause + ' s')
            steps.sleep(time: pause, unit: 'SECONDS')
        }
    }

    Map parse(Map answer, Map request) {
        String text = answer.body
        Map document = null
        try {
            document = steps.readJSON(text: text, returnPojo: true) as Map
        } catch (FlowInterruptedException interruption) {
            throw interruption
        } catch (Exception broken) {
            return [outcome: 'again', why: 'the answer was cut short or is no JSON']
        }
        return Answer.withDocument(answer, document, request.expects as String)
    }

    Map send(Map request) {
        Map response = [:]
        // The credential's failure is not caught: asking again would not mend it.
        steps.withCredentials([steps.string(credentialsId: credentialsId, variable: 'BELLWETHER_TOKEN')]) {
            response = exchange(request, steps.env.BELLWETHER_TOKEN as String)
        }
        return response
    }

    Map exchange(Map request, String token) {
        // Not much longer than there is time: an interrupted block has a minute for everything that it still does.
        int left = ((request.until as long) - System.currentTimeMillis()).intdiv(1000) as int
        int seconds = Math.max(3, Math.min(REQUEST_SECONDS + ((request.waitSeconds ?: 0) as int), left + 5))
        request.sent = true
        try {
            def response = steps.httpRequest(
                url: url + request.path, httpMode: request.verb, timeout: seconds, quiet: true,
                validResponseCodes: '100:599', consoleLogResponseBody: false,
                contentType: request.body ? 'APPLICATION_JSON' : 'NOT_SET', requestBody: request.body ?: '',
                customHeaders: Answer.headersFor(request, token))
            return [status: response.status, body: response.content ?: '', headers: Answer.plain(response.headers)]
        } catch (FlowInterruptedException interruption) {
            throw interruption
        } catch (Exception failure) {
            // Also what a restart of Jenkins makes of a request that was under way.
            return [status: 0, body: '', headers: [:], failure: Answer.without(failure.message, token)]
        }
    }
}
