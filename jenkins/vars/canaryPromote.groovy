import dev.bellwether.Arguments
import dev.bellwether.Hook
import dev.bellwether.Memory
import dev.bellwether.Promotion
import dev.bellwether.State
import dev.bellwether.Text
import hudson.AbortException
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** Starts a promotion, prints its log, waits for its result and makes it the build's. See canaryPromote.txt. */
Map call(Map args = [:]) {
    Map given = Arguments.plain(args) as Map
    String url = Arguments.withoutSlash(given.url ?: env.BELLWETHER_URL)
    Map settings = defaults() + [conflict: 'reject'] + given
    String problem = wrong(given, settings, url)
    if (problem) {
        error('canaryPromote: ' + problem)
    }

    String canary = given.canary
    String build = env.BUILD_URL ?: env.BUILD_TAG ?: ''
    String key = given.idempotencyKey ?:
        Arguments.key(build, currentBuild.timeInMillis as long, env.STAGE_NAME as String, given.key as String, canary)
    Map order = [name: canary.substring(canary.indexOf('/') + 1), key: key, part: given.key, deadline: deadline(given, settings), body: Arguments.json(wish(given, settings))]
    return see(new Promotion(hook(url, given), Arguments.namespace(given), null), canary, settings, order)
}

/** What canaryPromote and canaryWait have in common. */
Map defaults() {
    return [timeoutMinutes: 45, onAbort: 'rollback', onRolledBack: 'FAILURE', abortWaitSeconds: 45, onLost: 'leave']
}

Hook hook(String url, Map given) {
    Hook hook = new Hook(this, url, given)
    hook.met = Memory.knows(env."${Memory.VARIABLE}" as String, url)
    return hook
}

/** Sees a promotion through to its end; starts it first if there is an `order`. */
Map see(Promotion promotion, String canary, Map settings, Map order) {
    // The server's deadline comes first and decides; this one is for a server that says nothing.
    long until = System.currentTimeMillis() + (settings.timeoutMinutes as long) * 60000L + 60000L
    try {
        if (order) {
            promotion.start(order, until)
        } else {
            promotion.recall()
            promotion.look(until)
        }
        if (!promotion.state.expired) {
            // Whoever does not wait must know by when a person has to have answered.
            String end = order && settings.wait == false ? '; its deadline is ' + order.deadline + ' s after it was first asked for' : ''
            echo('[canary] ' + canary + ' ' + promotion.id + ': ' + promotion.state.phase + ', ' + promotion.link() + end)
        }
        describe(settings, canary, promotion)
        if (order && settings.wait == false && !promotion.state.expired) {
            return promotion.state
        }
        follow(promotion, until)
    } catch (FlowInterruptedException interruption) {
        if (agentIsGone(interruption)) {
            // The build did not give up: `retry` with an agent condition runs this stage again and finds the promotion.
            echo('[canary] the agent is gone; ' + promotion.goesOn())
        } else {
            callOff(promotion, settings, order, 'the build was interrupted: ' + env.BUILD_TAG)
            describe(settings, canary, promotion)
        }
        throw interruption
    } catch (Exception failure) {
        if (!promotion.state.finished) {
            lose(promotion, settings, order, failure)
        }
        if (!(failure instanceof AbortException)) {
            // A stage that is run again prints the rest of the log, and has the same verdict.
            throw failure
        }
        // What is left is the end of a log, and no reason to lose a verdict.
        echo('[canary] the end of the log could not be read: ' + Text.line(failure.message))
    } finally {
        promotion.remember()
    }
    if (!promotion.state.finished) {
        tooLong(promotion, canary, settings, order)
    }
    describe(settings, canary, promotion)
    return conclude(canary, promotion.state, settings.onRolledBack as String)
}

/**
 * Waits for the result until `until`.
 *
 * The time may have passed while nobody could ask, such as while Jenkins was down: a verdict that is there by then counts.
 */
void follow(Promotion promotion, long until) {
    Exception failure = null
    try {
        promotion.follow(until)
    } catch (FlowInterruptedException interruption) {
        throw interruption
    } catch (Exception problem) {
        failure = problem
    }
    if (failure != null || !promotion.state.finished) {
        long late = System.currentTimeMillis() + 60000L
        if (failure != null && late < until) {
            throw failure
        }
        lookOnceMore(promotion, late, failure)
    }
}

/** Throws `failure` if the server does not answer until `late` either; the end of a log is no reason to lose a verdict. */
void lookOnceMore(Promotion promotion, long late, Exception failure) {
    try {
        promotion.look(late)
        if (promotion.state.finished) {
            promotion.follow(late)
        }
    } catch (FlowInterruptedException interruption) {
        throw interruption
    } catch (Exception again) {
        if (!promotion.state.finished) {
            throw failure ?: again
        }
        echo('[canary] the end of the log could not be read: ' + Text.line(again.message ?: again.toString()))
    }
}

/** Fails because the server is not heard of, and says what becomes of the release, whatever it is that went wrong. */
void lose(Promotion promotion, Map settings, Map order, Exception failure) {
    if (!promotion.mayHaveStarted()) {
        throw failure
    }
    String why = failure instanceof AbortException ? failure.message : '[canary] ' + Hook.FAULT + failure.toString()
    if (settings.onLost == 'abort') {
        callOff(promotion, settings, order, 'the build lost sight of it: ' + env.BUILD_TAG)
    }
    error(Text.line(why) + '; ' + (promotion.state.finished ? 'called off: ' + promotion.state.result : promotion.goesOn()))
}

/** The server has not decided in time. */
void tooLong(Promotion promotion, String canary, Map settings, Map order) {
    String late = 'no result within ' + settings.timeoutMinutes + ' minutes'
    if (settings.onLost == 'abort') {
        callOff(promotion, settings, order, late)
        promotion.remember()
        describe(settings, canary, promotion)
    }
    if (!State.succeeded(promotion.state)) {
        error(State.sentence(canary, promotion.state) + '; ' + late + (promotion.state.finished ? '' : '; ' + promotion.goesOn()))
    }
}

/** Makes the promotion's result the build's. */
Map conclude(String canary, Map state, String onRolledBack) {
    String sentence = State.sentence(canary, state)
    if (State.succeeded(state)) {
        echo(sentence)
        return state
    }
    if (state.result == 'RolledBack' && onRolledBack == 'UNSTABLE') {
        unstable(sentence)
        return state
    }
    if (state.result == 'Aborted' || state.result == 'Superseded' || (state.result == 'RolledBack' && onRolledBack == 'ABORTED')) {
        // `error` alone would say FAILURE; a result only ever gets worse, and ABORTED is the worst.
        currentBuild.result = 'ABORTED'
    }
    error(sentence)
}

/** Calls a promotion off without hiding why: whatever goes wrong here is said, not thrown. */
void callOff(Promotion promotion, Map settings, Map order, String reason) {
    long until = System.currentTimeMillis() + (settings.abortWaitSeconds as long) * 1000L
    try {
        if (promotion.id == null && promotion.mayHaveStarted()) {
            // The request that was under way may have been taken. Only asking again with its key tells.
            promotion.start(order, until)
        }
        if (promotion.id != null) {
            promotion.callOff(settings.onAbort as String, reason, until)
            echo(promotion.state.finished ? State.sentence(Text.line(settings.canary), promotion.state) + left(promotion, settings)
                : '[canary] ' + promotion.id + ' is not over yet; ' + promotion.goesOn())
        }
    } catch (FlowInterruptedException again) {
        throw again
    } catch (Exception failure) {
        echo('[canary] could not call it off: ' + Text.line(failure.message) + (promotion.mayHaveStarted() ? '; ' + promotion.goesOn() : ''))
    }
}

/** What an abort leaves of the release: not every one takes it back. */
String left(Promotion promotion, Map settings) {
    if (promotion.state.result != 'Aborted' || settings.onAbort == 'rollback') {
        return ''
    }
    return settings.onAbort == 'none' ? '; ' + promotion.goesOn() : '; the release is paused where it is'
}

void describe(Map settings, String canary, Promotion promotion) {
    if (settings.describe && promotion.id) {
        currentBuild.description = canary + ': ' + (promotion.state.result ?: promotion.state.phase) + ' ' + promotion.link()
    }
}

boolean agentIsGone(FlowInterruptedException interruption) {
    String causes = 'interrupted: ' + interruption.message
    try {
        for (int i = 0; i < interruption.causes.size(); i++) {
            causes = causes + ' ' + interruption.causes[i].shortDescription
        }
    } catch (Exception notAllowed) {
        // In the sandbox the causes need an approval; newer releases of Jenkins name them in the message.
    }
    return causes.contains('Agent was removed') || causes.contains('Timeout waiting for agent')
}

Map wish(Map given, Map settings) {
    Map wish = [:]
    if (given.image) {
        wish.image = given.image
    }
    if (given.images) {
        wish.images = given.images
    }
    if (given.await) {
        wish.await = given.await
    }
    wish.requester = given.requester ?: requester()
    wish.policy = [conflict: settings.conflict, onAbort: settings.onAbort,
        deadlineSeconds: deadline(given, settings)]
    return wish
}

/** Seconds from its creation after which the server ends a promotion. */
int deadline(Map given, Map settings) {
    return (given.deadlineSeconds ?: Math.max(60, (settings.timeoutMinutes as int) * 60)) as int
}

/** Who asks. It is no part of what makes two requests the same. */
Map requester() {
    List people = people()
    Map all = [kind: 'jenkins', controller: env.JENKINS_URL, job: env.JOB_NAME, buildNumber: currentBuild.number,
        buildUrl: env.BUILD_URL, buildTag: env.BUILD_TAG, user: people ? people[0] : null, commit: env.GIT_COMMIT]
    Map cleaned = Arguments.cleaned(all)
    List others = []
    for (int i = 1; i < people.size(); i++) {
        others.add(people[i])
    }
    if (others) {
        cleaned.onBehalfOf = Arguments.names(others)
    }
    return cleaned
}

/** Who started this build, and the builds that started it, however far up: whoever started this one comes first. */
List people() {
    List people = []
    List builds = [currentBuild]
    def upstream = currentBuild.upstreamBuilds
    for (int i = 0; upstream != null && i < upstream.size(); i++) {
        builds.add(upstream[i])
    }
    for (int i = 0; i < builds.size(); i++) {
        def causes = builds[i].getBuildCauses('hudson.model.Cause$UserIdCause')
        for (int k = 0; causes != null && k < causes.size(); k++) {
            String name = causes[k].userId
            if (name && !people.contains(name)) {
                people.add(name)
            }
        }
    }
    return people
}

String wrong(Map given, Map settings, String url) {
    List known = ['canary', 'image', 'images', 'await', 'url', 'credentialsId', 'httpProxy', 'timeoutMinutes', 'deadlineSeconds', 'conflict',
        'onAbort', 'onLost', 'onRolledBack', 'abortWaitSeconds', 'idempotencyKey', 'key', 'requester', 'describe', 'wait']
    return Arguments.wrong(given, known) ?: Arguments.wrongCanary(given.canary as String) ?: Arguments.wrongWish(given) ?:
        Arguments.wrongCommon(given, url) ?: wrongSettings(settings) ?:
        Arguments.wrongChoice('conflict', settings.conflict, ['reject', 'queue', 'supersede'])
}

String wrongSettings(Map settings) {
    return Arguments.wrongNumber('timeoutMinutes', settings.timeoutMinutes) ?:
        Arguments.wrongNumber('abortWaitSeconds', settings.abortWaitSeconds) ?:
        Arguments.wrongChoice('onAbort', settings.onAbort, ['rollback', 'pause', 'none']) ?:
        Arguments.wrongChoice('onLost', settings.onLost, ['leave', 'abort']) ?:
        Arguments.wrongChoice('onRolledBack', settings.onRolledBack, ['FAILURE', 'UNSTABLE', 'ABORTED'])
}
