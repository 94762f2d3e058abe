package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS
import groovy.json.JsonSlurper

/**
 * Reads JSON without a plugin.
 *
 * Of Groovy's two readers this one is on the sandbox's list. Its maps cannot be saved with the program, so that none leaves here.
 */
class Json implements Serializable {
    private static final long serialVersionUID = 1L

    /** The object that `text` is, or null if it is none. */
    @NonCPS
    static Map parse(String text) {
        if (text == null || !text.trim().startsWith('{') || !text.trim().endsWith('}')) {
            return null
        }
        try {
            return plain(new JsonSlurper().parseText(text)) as Map
        } catch (Exception broken) {
            return null
        }
    }

    @NonCPS
    private static Object plain(Object value) {
        if (value instanceof Map) {
            Map map = [:]
            for (entry in value) {
                map.put(entry.key.toString(), Json.plain(entry.value))
            }
            return map
        }
        if (value instanceof List) {
            List list = []
            for (item in value) {
                list.add(Json.plain(item))
            }
            return list
        }
        return value
    }
}
