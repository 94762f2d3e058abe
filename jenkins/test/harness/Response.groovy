package harness

/** What the step httpRequest returns. */
class Response implements Serializable {
    private static final long serialVersionUID = 1L
    int status
    String content
    Map headers = [:]
}
