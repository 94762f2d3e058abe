package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonOutput

/** Checks and completes what a step was called with. Says what is wrong in words, as only a step may fail a build. */
class Arguments implements Serializable {
    private static final long serialVersionUID = 1L

    private static final String NAME = '[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?'
    private static final int LONGEST_KEY = 200
    private static final int LONGEST_WORDS = 1000

    /** What every step may be called with. */
    static final List COMMON = ['canary', 'namespace', 'promotion', 'url', 'credentialsId', 'httpProxy', 'minutes']
    /** What every step may be called with that acts on a promotion of this build. */
    static final List OWN = COMMON + ['key']

    /** Null, or what is wrong. A name that is not known is an error: a typing error must not pass in a release. */
    @NonCPS
    static String wrong(Map given, List known) {
        for (entry in given) {
            if (!known.contains(entry.key.toString())) {
                return 'unknown parameter ' + entry.key + '; there are ' + known.join(', ')
            }
        }
        return null
    }

    @NonCPS
    static String wrongAddress(String url) {
        if (!url) {
            return 'no address: give url or set the environment variable BELLWETHER_URL'
        }
        return url.matches('https?://[^/?#@ ]+(/[^?# ]*)?') ? null : 'url must be http(s)://host[:port][/path]'
    }

    @NonCPS
    static String withoutSlash(Object url) {
        String address = url == null ? '' : url.toString()
        return address.endsWith('/') ? address.substring(0, address.length() - 1) : address
    }

    /**
     * `given` with the promotion that is meant: the one that is named, or else the one that this build started.
     *
     * @param kept what the build remembers, see {@link Memory}
     * @param stage where the step is called
     */
    @NonCPS
    static Map withPromotion(Map given, String url, String kept, String stage) {
        Map whole = [:] + given
        whole.put('namespace', namespace(given))
        if (!given.get('promotion')) {
            Map found = Memory.find(kept, url, given.get('canary') as String, stage, given.get('key') as String)
            whole.put('problem', found.get('problem'))
            whole.put('promotion', found.get('id'))
            whole.put('namespace', found.get('namespace') ?: whole.get('namespace'))
            whole.put('canary', found.get('id') ? found.get('namespace') + '/' + found.get('canary') : given.get('canary'))
        }
        return whole
    }

    /** Null, or what is wrong with parameters that all steps have. */
    @NonCPS
    static String wrongCommon(Map given, String url) {
        return wrongAddress(url) ?: wrongNumber('minutes', given.get('minutes') ?: 5) ?:
            (given.get('httpProxy') && !given.get('httpProxy').toString().matches('https?://[^/?#@ ]+/?') ? 'httpProxy must be http(s)://host[:port]' : null) ?:
            given.get('problem') as String
    }

    @NonCPS
    static String wrongCanary(String canary) {
        return canary && canary.matches(NAME + '/' + NAME) ? null : 'canary must be \'namespace/name\', not ' + canary
    }

    @NonCPS
    static String wrongPromotion(String namespace, String id) {
        if (!namespace || !namespace.matches(NAME)) {
            return 'namespace (or canary: \'namespace/name\') is needed, got ' + namespace
        }
        return id && id.matches(NAME) ? null : 'promotion must be the id of a promotion, not ' + id
    }

    @NonCPS
    static String wrongChoice(String name, Object value, List choices) {
        return choices.contains(value.toString()) ? null : name + ' must be one of ' + choices.join(', ') + ', not ' + value
    }

    @NonCPS
    static String wrongNumber(String name, Object value) {
        return value.toString().matches('[1-9][0-9]{0,5}') ? null : name + ' must be a number above 0, not ' + value
    }

    /** The namespace that was named, by itself or as the first half of a Canary. */
    @NonCPS
    static String namespace(Map given) {
        String canary = given.get('canary') == null ? '' : given.get('canary').toString()
        return given.get('namespace') ? given.get('namespace').toString() : canary.contains('/') ? canary.substring(0, canary.indexOf('/')) : null
    }

    /** Null, or what is wrong with what shall be released. */
    @NonCPS
    static String wrongWish(Map given) {
        int wishes = 0
        for (String name in ['image', 'images', 'await']) {
            wishes = wishes + (given.get(name) ? 1 : 0)
        }
        if (wishes != 1) {
            return 'give exactly one of image, images and await'
        }
        return given.get('await') instanceof Map ? wrongImages(given.get('await') as Map) : wrongImages(given)
    }

    @NonCPS
    private static String wrongImages(Map wish) {
        List images = [wish.get('image')]
        if (wish.get('images') instanceof Map) {
            for (entry in wish.get('images')) {
                images.add(entry.value)
            }
        }
        for (image in images) {
            // What Groovy makes of a variable that is not set; such a part of a name is nobody's wish.
            if (image != null && image.toString().matches('(.*[:/@])?null([:/@].*)?')) {
                return 'the image ' + image + ' has null where a variable was not set, such as env.GIT_COMMIT outside the stage that checked out'
            }
        }
        return null
    }

    /** Not by a step: a restart of Jenkins fails the one that is under way, and this one could not be asked again. */
    @NonCPS
    static String json(Map value) {
        return JsonOutput.toJson(value)
    }

    /** The same without nulls, and with Groovy's strings read once: they may be lazy, while a key needs one body. */
    @NonCPS
    static Object plain(Object value) {
        if (value instanceof Map) {
            Map plain = [:]
            for (entry in value) {
                if (entry.value != null) {
                    plain.put(entry.key.toString(), Arguments.plain(entry.value))
                }
            }
            return plain
        }
        return value instanceof CharSequence ? value.toString() : value
    }

    /** The same with its strings made fit for a log: names of jobs and users are typed by people. */
    @NonCPS
    static Map cleaned(Map value) {
        Map cleaned = [:]
        for (entry in (plain(value) as Map)) {
            cleaned.put(entry.key, entry.value instanceof String ? Text.line(entry.value) : entry.value)
        }
        return cleaned
    }

    /** Names of people as the API takes them: ten at most, each of one line. */
    @NonCPS
    static List names(Object people) {
        List names = []
        for (person in (people instanceof Collection ? people : [people])) {
            if (person && names.size() < 10) {
                names.add(Text.line(person))
            }
        }
        return names
    }

    /** What is sent of a decision at a gate: the people for whom it is made count as who decides. */
    @NonCPS
    static String decision(String gate, String comment, Object submitter) {
        Map body = [gate: gate, comment: words(comment)]
        List people = names(submitter)
        if (people) {
            body.onBehalfOf = people
        }
        return json(body)
    }

    /** What goes on record with a gate: who answered an `input`, and what was said. */
    @NonCPS
    static String comment(Map given, String otherwise) {
        String said = (given.get('comment') ?: otherwise ?: '').toString()
        return given.get('submitter') ? 'decided by ' + given.get('submitter') + ' in Jenkins' + (said ? ': ' + said : '') : said
    }

    /** What a person shall read, as long as the API takes it: the rest of a compiler's output is better lost than the order. */
    @NonCPS
    static String words(Object foreign) {
        String text = Text.line(foreign)
        if (text.length() <= LONGEST_WORDS) {
            return text
        }
        // Half of a character of two signs is no text.
        String last = text.substring(LONGEST_WORDS - 1, LONGEST_WORDS)
        boolean half = last >= '\uD800' && last < '\uDC00'
        return text.substring(0, half ? LONGEST_WORDS - 1 : LONGEST_WORDS)
    }

    /**
     * A key that is the same whenever this stage of this build asks for this Canary, with the same `part` if it asks several times.
     *
     * With the time at which the build was scheduled, because a job that is made anew counts its builds from 1 again.
     * Escaped, because a header is ASCII while names of jobs and stages need not be; and cut with a digest of the
     * whole, because the names may be longer than a key: what differs most comes first.
     */
    @NonCPS
    static String key(String build, long scheduled, String stage, String part, String canary) {
        String key = URLEncoder.encode(scheduled.toString() + ':' + (stage ?: '') + (part ? '/' + part : '') + ':' + canary + ':' + build, 'UTF-8')
        return key.length() <= LONGEST_KEY ? key : key.substring(0, LONGEST_KEY - 20) + '.' + key.length() + '.' + Integer.toString(key.hashCode(), 36)
    }
}
