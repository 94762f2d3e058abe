package harness

/** `currentBuild`: a result only ever gets worse. */
class Run implements Serializable {
    final int number = 42

    long getTimeInMillis() {
        return Build.current.timeInMillis
    }

    String getResult() {
        return Build.current.result
    }

    void setResult(String result) {
        List order = [null, 'SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED']
        if (order.indexOf(result) > order.indexOf(Build.current.result)) {
            Build.current.result = result
        }
    }

    String getDescription() {
        return Build.current.description
    }

    void setDescription(String description) {
        Build.current.description = description
    }

    List getBuildCauses(String type) {
        return Build.current.causes
    }

    List getUpstreamBuilds() {
        return Build.current.upstream.collect { new Upstream(causes: it as List) }
    }

    static class Upstream implements Serializable {
        private static final long serialVersionUID = 1L
        List causes

        List getBuildCauses(String type) {
            return causes
        }
    }

    Object readResolve() {
        return Build.RUN
    }
}
