package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/** What a person or a server wrote, made fit for a log: everything foreign that is printed or passed on comes through here. */
class Text implements Serializable {
    private static final long serialVersionUID = 1L

    /** Control characters but tab and line feed, separators of lines, and marks that turn the direction of writing. */
    private static final String UNSAFE = '[\\u0000-\\u0008\\u000B-\\u001F\\u007F-\\u009F\\u061C\\u200E\\u200F\\u2028-\\u202E\\u2066-\\u2069]'

    /**
     * `text` without escape sequences, bidirectional marks and commands of a CI server; its lines stay.
     *
     * A line that begins with `::` would be a command where GitHub reads the log.
     */
    @NonCPS
    static String clean(Object text) {
        String lines = text == null ? '' : text.toString().replace('\r\n', '\n')
        return lines.replaceAll(UNSAFE, '?').replaceAll('(?m)^([ \\t]*):(?=:)', '$1: ')
    }

    /** The same in one line. */
    @NonCPS
    static String line(Object text) {
        return clean(text).replace('\n', ' ')
    }
}
