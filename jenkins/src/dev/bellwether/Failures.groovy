package dev.bellwether

import com.cloudbees.groovy.cps.NonCPS

/**
 * Tells a no to a release from a fault of the infrastructure on which it was to be judged.
 *
 * Only what somebody wrote or ran as a check is a no: `error`, a command's exit code, an assertion. A rollback of production
 * for a lost agent is worse than a gate that stays closed.
 */
class Failures implements Serializable {
    private static final long serialVersionUID = 1L

    /** What a failing check throws, by the beginning of its text. */
    private static final List CHECKS = ['hudson.AbortException', 'java.lang.Exception', 'java.lang.RuntimeException', 'java.lang.AssertionError', 'Assertion failed']
    /** What Jenkins' own steps say with the same exception when there was nothing to judge. */
    private static final List FAULTS = [Hook.FAULT, 'script returned exit code -', 'Error fetching remote repo', 'Error cloning remote repo',
        'Couldn\'t find any revision to build', 'Could not checkout', 'Could not find credentials', 'No test report files were found',
        'Unable to create live FilePath', 'missing workspace', 'Unexpected termination of the channel', 'Cannot contact ', 'marked offline',
        'Remote call on ', 'Agent was removed', 'ClosedChannelException', 'ChannelClosedException', 'Resume after a restart not supported',
        'No such DSL method', 'Connection refused', 'Connection reset', 'UnknownHostException', 'SocketTimeoutException']
    /**
     * A command that was ended from outside by SIGHUP, SIGINT, SIGKILL or SIGTERM (128 and the signal): a terminal or agent that
     * goes away, a node that is drained, the kernel that is out of memory. Such a command has not come to its verdict. The
     * signals that a program brings upon itself (134 abort, 136 arithmetic, 139 memory) are what the check found: a no.
     */
    private static final String ENDED = '(?s).*script returned exit code (129|130|137|143)(?![0-9]).*'

    @NonCPS
    static boolean isFault(Throwable failure) {
        String text = failure.toString()
        if (text.matches(ENDED)) {
            return true
        }
        for (String fault in FAULTS) {
            if (text.contains(fault)) {
                return true
            }
        }
        for (String check in CHECKS) {
            if (text == check || text.startsWith(check + ':') || (check.contains(' ') && text.startsWith(check))) {
                return false
            }
        }
        return true
    }
}
