package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/** Cuts a part of a log so that every line is printed once and whole. */
class Lines implements Serializable {
    private static final long serialVersionUID = 1L

    /**
     * The part that begins at byte `start` and ends before byte `size`.
     *
     * The end may lie inside a line, even inside a character, while the log is being written; the rest of that
     * line is left for the next part. `lost` counts bytes at the beginning that the server no longer keeps.
     *
     * @return `text` to print (or null), `next` start, `lost`
     */
    @NonCPS
    static Map whole(String body, long start, long size, boolean complete) {
        if (size <= start || body.isEmpty()) {
            return [text: null, next: start, lost: 0L]
        }
        String text = complete ? body : body.substring(0, body.lastIndexOf('\n') + 1)
        // A character that was cut decodes to something longer than what there was, so this is never too big.
        long lost = Math.max(0L, size - start - bytes(body))
        if (text.isEmpty()) {
            return [text: null, next: start, lost: 0L]
        }
        long next = text.length() == body.length() ? size : start + lost + bytes(text)
        String printed = text.endsWith('\n') ? text.substring(0, text.length() - 1) : text
        return [text: printed, next: next, lost: lost]
    }

    @NonCPS
    private static long bytes(String text) {
        return text.getBytes('UTF-8').length as long
    }
}
