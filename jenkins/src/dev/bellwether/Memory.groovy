package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/**
 * What a build keeps in its environment between two calls: which promotions it started, where, and in which stage.
 *
 * Environment variables live through restarts, and an `input` of days. One entry is
 * `server namespace/canary/id/stage/key/over`, the newest last; the cells of a matrix have one stage and a key each.
 */
class Memory implements Serializable {
    private static final long serialVersionUID = 1L

    static final String VARIABLE = 'BELLWETHER_PROMOTIONS'
    private static final String OVER = 'over'

    /** `kept` with this promotion as the newest. */
    @NonCPS
    static String with(String kept, String url, String namespace, String canary, String id, String stage, String part) {
        String place = server(url) + ' ' + namespace + '/' + canary + '/'
        String caller = '/' + escaped(stage) + '/' + escaped(part) + '/'
        StringBuilder entries = new StringBuilder()
        for (String entry in (kept ?: '').split(';')) {
            boolean replaced = entry.startsWith(place + id + '/') || (entry.startsWith(place) && entry.endsWith(caller + OVER))
            if (!entry.isEmpty() && !replaced) {
                entries.append(entry).append(';')
            }
        }
        return entries.append(place).append(id).append(caller).toString()
    }

    /** `kept` with the knowledge that this promotion is over. */
    @NonCPS
    static String over(String kept, String url, String namespace, String id) {
        List entries = []
        for (String entry in (kept ?: '').split(';')) {
            boolean meant = entry.startsWith(server(url) + ' ' + namespace + '/') && entry.contains('/' + id + '/') && entry.endsWith('/')
            entries.add(entry + (meant ? OVER : ''))
        }
        return entries.join(';')
    }

    /**
     * The promotion that this build started: `namespace`, `canary` and `id`; or `problem`, what is wrong.
     *
     * Of several of one Canary those of the own stage come first, and then those that are not known to be over; of several that are
     * over the newest. `key` names one of them.
     */
    @NonCPS
    static Map find(String kept, String url, String canary, String stage, String key) {
        List all = entries(kept, url, canary, key)
        if (all.isEmpty()) {
            return [problem: 'this build started no promotion' + (canary ? ' of ' + canary : '') + (key ? ' with the key ' + key : '') +
                '; name the one that is meant by promotion']
        }
        for (entry in all) {
            if (entry.namespace != all[0].namespace || entry.canary != all[0].canary) {
                return [problem: 'this build started promotions of several Canaries; name the one that is meant by canary']
            }
        }
        List own = those(all, 'stage', stage ?: '')
        List near = own.isEmpty() ? all : own
        List running = those(near, 'over', '')
        if (running.size() > 1) {
            return [problem: 'this build started several promotions of ' + all[0].namespace + '/' + all[0].canary +
                ' that are not known to be over; name the one that is meant by promotion: ' + told(running) + ', or by key']
        }
        List left = running.isEmpty() ? near : running
        return left[left.size() - 1] as Map
    }

    @NonCPS
    private static List entries(String kept, String url, String canary, String key) {
        List found = []
        for (String entry in (kept ?: '').split(';')) {
            boolean here = entry.startsWith(server(url) + ' ')
            // With -1 the empty parts at the end are kept.
            String[] parts = here ? entry.substring(entry.indexOf(' ') + 1).split('/', -1) : [] as String[]
            if (parts.length == 6 && (canary == null || canary == parts[0] + '/' + parts[1]) && (!key || key == plain(parts[4]))) {
                found.add([namespace: parts[0], canary: parts[1], id: parts[2], stage: plain(parts[3]), key: plain(parts[4]), over: parts[5]])
            }
        }
        return found
    }

    @NonCPS
    private static List those(List entries, String field, String value) {
        List those = []
        for (entry in entries) {
            if (entry.get(field) == value) {
                those.add(entry)
            }
        }
        return those
    }

    @NonCPS
    private static String told(List entries) {
        List told = []
        for (entry in entries) {
            told.add(entry.get('id') + ' (stage ' + Text.line(entry.get('stage')) + (entry.get('key') ? ', key ' + Text.line(entry.get('key')) : '') + ')')
        }
        return told.join(', ')
    }

    /** Names of stages are what people typed. */
    @NonCPS
    private static String escaped(String text) {
        return (text ?: '').replace('%', '%25').replace(';', '%3B').replace('/', '%2F')
    }

    @NonCPS
    private static String plain(String text) {
        return text.replace('%2F', '/').replace('%3B', ';').replace('%25', '%')
    }

    /** Whether this build has heard of the server before. */
    @NonCPS
    static boolean knows(String kept, String url) {
        return (';' + (kept ?: '')).contains(';' + server(url) + ' ')
    }

    /** Where a build keeps how much of a log it has printed. An id says nothing of the server, and two may have the same. */
    @NonCPS
    static String logVariable(String url, String id) {
        return 'BELLWETHER_LOG_' + server(url).replace('-', '_') + '_' + id.replace('-', '_')
    }

    @NonCPS
    private static String server(String url) {
        return Integer.toString(url.hashCode(), 36)
    }
}
