package org.jenkinsci.plugins.workflow.steps

/** Stands for Jenkins' own: what a step throws when the build or its block is interrupted. */
class FlowInterruptedException extends Exception {
    private static final long serialVersionUID = 1L

    final List causes

    FlowInterruptedException(String cause) {
        this.causes = [new Cause(shortDescription: cause)]
    }

    static class Cause implements Serializable {
        private static final long serialVersionUID = 1L
        String shortDescription
    }
}
