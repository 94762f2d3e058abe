package org.jenkinsci.plugins.workflow.steps

/** Stands for Jenkins' own: what a step throws when the build or its block is interrupted. */
class FlowInterruptedException extends Exception {
    private static final long serialVersionUID = 1L

    final List causes

    FlowInterruptedException(String cause) {
        this.causes = [new Cause(shortDescription: cause)]
    }

    /** Where the causes cannot be read, the message names them, as in newer releases; else there is none, as in older ones. */
    @Override
    String getMessage() {
        return Boolean.getBoolean('sandbox') ? causes[0].shortDescription : null
    }

    static class Cause implements Serializable {
        private static final long serialVersionUID = 1L
        String shortDescription
    }
}
