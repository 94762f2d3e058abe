package hudson

/** Stands for Jenkins' own: what `error` throws. */
class AbortException extends IOException {
    private static final long serialVersionUID = 1L

    AbortException(String message) {
        super(message)
    }
}
