package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/** What an HTTP response means. Pure functions, so that none of them runs across a step. */
class Answer implements Serializable {
    private static final long serialVersionUID = 1L

    private static final int LONGEST_PAUSE = 15
    private static final int LONGEST_RETRY_AFTER = 60

    /** Judges `response` ({status, body, headers, failure}): `outcome` is 'taken', 'again' or 'refused'. */
    @NonCPS
    static Map judge(Map response, Map request) {
        int status = response.status as int
        String body = response.body as String
        Map headers = response.headers as Map
        if (status == 0) {
            return again('the request failed (' + response.failure + ')', null)
        }
        if (status >= 200 && status < 300) {
            return taken(request.expects as String, body, headers)
        }
        Integer retryAfter = number(headers.get('retry-after')) as Integer
        if (status < 400) {
            // The API never redirects: somebody else does, such as a proxy that wants a login.
            return again('redirected (' + status + ') to ' + headers.get('location'), retryAfter)
        }
        if (status == 408 || status == 425 || status == 429 || status >= 500) {
            return again('status ' + status + said(body), retryAfter)
        }
        if (isProblem(body)) {
            return [outcome: 'refused', status: status, why: 'status ' + status + said(body)]
        }
        // Without a problem document it is not the API that speaks. The http_request plugin also says 404 when
        // the name could not be resolved.
        if (request.known || body.startsWith('UnknownHostException')) {
            return again('status ' + status + ' from something that is not the hook API', retryAfter)
        }
        return [outcome: 'refused', status: status, why: 'status ' + status + ' from something that is not the hook API']
    }

    @NonCPS
    private static Map taken(String expects, String body, Map headers) {
        String text = body.trim()
        if (expects == 'log') {
            Long size = number(headers.get('x-text-size'))
            if (size == null) {
                return again('the log came without X-Text-Size, not from the hook API', null)
            }
            boolean more = 'true'.equalsIgnoreCase(headers.get('x-more-data') as String)
            return [outcome: 'taken', body: body, size: size, more: more]
        }
        boolean json = text.startsWith('{')
        if (expects == null) {
            return text.startsWith('<') ? again('a page came that is not the hook API\'s', null) : [outcome: 'taken']
        }
        return json ? [outcome: 'taken', body: text, json: true] : again('a page came that is not the hook API\'s', null)
    }

    /** A proxy's own 200 may be JSON too; only a document that has what is expected is taken for it. */
    @NonCPS
    static Map withDocument(Map answer, Map document, String expects) {
        if (expects == 'promotion' && (document == null || document.get('id') == null || document.get('phase') == null)) {
            return again('the answer is no promotion', null)
        }
        if (expects == 'accepted' && (document == null || document.get('links') == null)) {
            return again('the answer says of no order that it was taken', null)
        }
        if (expects == 'order' && (document == null || document.get('name') == null || document.get('verb') == null)) {
            return again('the answer is no order', null)
        }
        return [outcome: 'taken', document: document]
    }

    @NonCPS
    private static Map again(String why, Integer retryAfter) {
        return [outcome: 'again', why: why, retryAfter: retryAfter]
    }

    /** Seconds to wait before try number `tries` + 1. */
    @NonCPS
    static int pause(int tries, Integer retryAfter) {
        int pause = 1
        for (int i = 1; i < tries && pause < LONGEST_PAUSE; i++) {
            pause = pause * 2
        }
        pause = Math.min(pause, LONGEST_PAUSE)
        return retryAfter == null ? pause : Math.max(pause, Math.min(retryAfter as int, LONGEST_RETRY_AFTER))
    }

    @NonCPS
    private static boolean isProblem(String body) {
        String text = body.trim()
        return text.startsWith('{') && text.contains('"code"')
    }

    /** `detail` of a problem document, read without a JSON parser because no step may run here. */
    @NonCPS
    private static String said(String body) {
        String detail = field(body, 'detail') ?: field(body, 'title')
        String other = field(body, 'other')
        return (detail ? ': ' + detail : '') + (other ? ' (' + other + ')' : '')
    }

    @NonCPS
    private static String field(String body, String name) {
        int at = body.indexOf('"' + name + '"')
        int colon = at < 0 ? -1 : body.indexOf(':', at + name.length() + 2)
        int from = colon < 0 ? -1 : body.indexOf('"', colon)
        if (from < 0 || !body.substring(colon + 1, from).trim().isEmpty()) {
            return null
        }
        StringBuilder text = new StringBuilder()
        int i = from + 1
        while (i < body.length() && body.substring(i, i + 1) != '"') {
            boolean escape = body.substring(i, i + 1) == '\\' && i + 1 < body.length()
            i = escape ? i + 1 : i
            String sign = body.substring(i, i + 1)
            text.append(escape && 'nrt'.contains(sign) ? ' ' : sign)
            i++
        }
        return text.toString()
    }

    @NonCPS
    static List headersFor(Map request, String token) {
        List headers = [
            [name: 'Authorization', value: 'Bearer ' + token, maskValue: true],
            [name: 'Accept', value: request.expects == 'log' ? 'text/plain' : 'application/json'],
        ]
        if (request.key) {
            headers.add([name: 'Idempotency-Key', value: request.key])
        }
        return headers
    }

    /** Headers by their name in small letters, one value each; servers differ in how they write names. */
    @NonCPS
    static Map plain(Map headers) {
        Map plain = [:]
        for (entry in headers) {
            String name = entry.key
            if (name != null && entry.value) {
                plain.put(name.toLowerCase(), entry.value instanceof List ? entry.value[0] as String : entry.value as String)
            }
        }
        return plain
    }

    @NonCPS
    static String without(String text, String secret) {
        String plain = text == null ? 'no reason given' : text
        return secret ? plain.replace(secret, '****') : plain
    }

    @NonCPS
    private static Long number(Object text) {
        String digits = text == null ? '' : text.toString().trim()
        return digits.matches('[0-9]{1,15}') ? digits.toLong() : null
    }
}
