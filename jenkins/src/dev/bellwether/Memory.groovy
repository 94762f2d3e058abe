package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/**
 * What a build keeps in its environment between two calls: which promotions it started, and where.
 *
 * Environment variables live through restarts, and an `input` of days. One entry is `server namespace/canary/id`, the newest last.
 */
class Memory implements Serializable {
    private static final long serialVersionUID = 1L

    static final String VARIABLE = 'BELLWETHER_PROMOTIONS'

    /** `kept` with this promotion as the newest of its Canary. */
    @NonCPS
    static String with(String kept, String url, String namespace, String canary, String id) {
        String place = server(url) + ' ' + namespace + '/' + canary + '/'
        StringBuilder entries = new StringBuilder()
        for (String entry in (kept ?: '').split(';')) {
            if (!entry.isEmpty() && !entry.startsWith(place)) {
                entries.append(entry).append(';')
            }
        }
        return entries.append(place).append(id).toString()
    }

    /** The promotion that this build started: `namespace`, `canary` and `id`; or `problem`, what is wrong. */
    @NonCPS
    static Map find(String kept, String url, String canary) {
        Map found = [:]
        for (String entry in (kept ?: '').split(';')) {
            boolean here = entry.startsWith(server(url) + ' ')
            String[] parts = here ? entry.substring(entry.indexOf(' ') + 1).split('/') : [] as String[]
            if (parts.length == 3 && (canary == null || canary == parts[0] + '/' + parts[1])) {
                if (found.id != null) {
                    return [problem: 'this build started promotions of several Canaries; name the one that is meant by canary']
                }
                found = [namespace: parts[0], canary: parts[1], id: parts[2]]
            }
        }
        return found.id == null ? [problem: 'this build started no promotion' + (canary ? ' of ' + canary : '') + '; name the one that is meant by promotion'] : found
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
