package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/** What an HTTP response means. Pure functions, so that none of them runs across a step. */
class Answer implements Serializable {
    private static final long serialVersionUID = 1L

    private static final int LONGEST_PAUSE = 15
    private static final int LONGEST_RETRY_AFTER = 60
    /** What asking again does not mend: as Java and the plugin say that a name is not known or a certificate is refused. */
    private static final List PERMANENT = ['UnknownHostException', 'SSLHandshakeException', 'SSLPeerUnverifiedException', 'CertificateException',
        'PKIX path', 'subject alternative', 'unable to find valid certification path', 'No trusted certificate']

    /**
     * Judges `response` ({status, body, headers, failure}).
     *
     * `outcome` is 'taken' (with `document` or `body`), 'again' or 'refused'; `why` says why it is not taken. `api` tells whether
     * the hook API itself has spoken, `fault` that a refusal says nothing of the release, `denied` that the token was refused.
     *
     * @param met the API has answered before, so that what it refuses now may pass: keys rotate, proxies restart
     */
    @NonCPS
    static Map judge(Map response, Map request, boolean met) {
        int status = response.status as int
        String body = response.body as String
        Map headers = response.headers as Map
        if (status == 0) {
            return lost('the request failed (' + Text.line(response.failure) + ')', met)
        }
        if (body.startsWith('UnknownHostException')) {
            // What the plugin makes of a name that cannot be resolved; with the status 404.
            return lost('the name of the host is not known (UnknownHostException)', met)
        }
        if (status >= 200 && status < 300) {
            return taken(request.expects as String, body, headers)
        }
        Integer retryAfter = number(headers.get('retry-after')) as Integer
        if (status < 400) {
            // The API never redirects: somebody else does, such as a proxy that wants a login.
            return again('redirected (' + status + ') to ' + Text.line(headers.get('location')), retryAfter)
        }
        Map problem = Json.parse(body)
        boolean api = problem != null && problem.get('code') != null
        if (api && status == 410 && problem.get('code') == 'expired') {
            return [outcome: 'taken', api: true, expired: true, document: problem]
        }
        String why = 'status ' + status + said(problem)
        if (status == 408 || status == 425 || status == 429 || status >= 500) {
            return again(why, retryAfter) + [api: api]
        }
        boolean denied = status == 401 || status == 403
        if (denied && met) {
            return again(why, retryAfter) + [api: api, denied: true]
        }
        if (api) {
            String advice = problem.get('code') == 'key_reused' ? KEY_REUSED : ''
            return [outcome: 'refused', api: true, fault: denied, why: why + advice]
        }
        // Without a problem document it is not the API that speaks.
        String stranger = 'status ' + status + ' from something that is not the hook API'
        return met ? again(stranger, retryAfter) : [outcome: 'refused', fault: true, why: stranger]
    }

    private static final String KEY_REUSED = '. This build has asked for something else with the same key. Where one stage promotes ' +
        'twice, as the cells of a matrix or the branches of a parallel do, give each call a key of its own: key: \'a name\''

    /** A request that got no answer. */
    @NonCPS
    private static Map lost(String why, boolean met) {
        for (String permanent in PERMANENT) {
            if (!met && why.contains(permanent)) {
                return [outcome: 'refused', fault: true, why: why]
            }
        }
        return again(why, null)
    }

    @NonCPS
    private static Map taken(String expects, String body, Map headers) {
        if (expects == 'log') {
            Long size = number(headers.get('x-text-size'))
            if (size == null) {
                return again('the log came without X-Text-Size, not from the hook API', null)
            }
            boolean more = 'true'.equalsIgnoreCase(headers.get('x-more-data') as String)
            return [outcome: 'taken', api: true, body: body, size: size, more: more]
        }
        if (!body.trim().startsWith('{')) {
            return again('a page came that is not the hook API\'s', null)
        }
        Map document = Json.parse(body)
        if (document == null) {
            return again('the answer was cut short or is no JSON', null)
        }
        return withDocument(document, expects)
    }

    /** A proxy's own 200 may be JSON too; only a document that has what is expected is taken for it. */
    @NonCPS
    private static Map withDocument(Map document, String expects) {
        if (expects == 'promotion' && (document.get('id') == null || document.get('phase') == null)) {
            return again('the answer is no promotion', null)
        }
        if (expects == 'accepted' && document.get('links') == null) {
            return again('the answer says of no order that it was taken', null)
        }
        if (expects == 'order' && (document.get('name') == null || document.get('verb') == null)) {
            return again('the answer is no order', null)
        }
        return [outcome: 'taken', api: true, document: document]
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
    private static String said(Map problem) {
        if (problem == null) {
            return ''
        }
        Object detail = problem.get('detail') ?: problem.get('title')
        Object other = problem.get('other')
        return (detail ? ': ' + Text.line(detail) : '') + (other ? ' (' + Text.line(other) + ')' : '')
    }

    /** Without `token` the request shows to nobody who is asking. */
    @NonCPS
    static List headersFor(Map request, String token) {
        List headers = [[name: 'Accept', value: request.expects == 'log' ? 'text/plain' : 'application/json']]
        if (token) {
            headers.add([name: 'Authorization', value: 'Bearer ' + token, maskValue: true])
        }
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
