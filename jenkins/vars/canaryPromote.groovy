import dev.bellwether.Arguments
import dev.bellwether.Hook
import dev.bellwether.Promotion
import dev.bellwether.State
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** Starts a promotion, prints its log, waits for its result and makes it the build's. See canaryPromote.txt. */
Map call(Map args = [:]) {
    Map given = Arguments.plain(args) as Map
    String url = withoutSlash(given.url ?: env.BELLWETHER_URL)
    Map defaults = [timeoutMinutes: 45, conflict: 'reject', onAbort: 'rollback', onRolledBack: 'FAILURE', abortWaitSeconds: 45]
    Map settings = defaults + given
    String problem = wrong(given, settings, url)
    if (problem) {
        error('canaryPromote: ' + problem)
    }

    String canary = given.canary
    String namespace = Arguments.namespace(given)
    String name = canary.substring(canary.indexOf('/') + 1)
    String build = env.BUILD_URL ?: env.BUILD_TAG ?: ''
    String key = given.idempotencyKey ?: Arguments.key(build, currentBuild.timeInMillis as long, env.STAGE_NAME as String, canary)
    String body = Arguments.json(wish(given, settings))
    // The server's deadline comes first and decides; this one is for a server that says nothing.
    long until = System.currentTimeMillis() + (settings.timeoutMinutes as long) * 60000L + 60000L

    Promotion promotion = new Promotion(new Hook(this, url, (given.credentialsId ?: 'bellwether') as String), namespace, null)
    try {
        promotion.start(name, key, body, until)
        echo('[canary] ' + canary + ' ' + promotion.id + ': ' + promotion.state.phase + ', ' + promotion.link())
        describe(given, canary, promotion)
        if (given.wait == false) {
            return promotion.state
        }
        follow(promotion, until)
        if (!promotion.state.finished) {
            callOff(promotion, settings, name, key, body, 'no result within ' + settings.timeoutMinutes + ' minutes')
            describe(given, canary, promotion)
            if (promotion.state.result != 'Promoted') {
                error(State.sentence(canary, promotion.state) + '; no result within ' + settings.timeoutMinutes + ' minutes')
            }
        }
    } catch (FlowInterruptedException interruption) {
        if (agentIsGone(interruption)) {
            // The build did not give up: `retry` with an agent condition runs this stage again and finds the promotion.
            echo('[canary] the agent is gone; the promotion goes on')
        } else {
            callOff(promotion, settings, name, key, body, 'the build was interrupted: ' + env.BUILD_TAG)
            describe(given, canary, promotion)
        }
        throw interruption
    } finally {
        promotion.remember()
    }
    describe(given, canary, promotion)
    return conclude(canary, promotion.state, settings.onRolledBack as String)
}

/**
 * Waits for the result until `until`.
 *
 * The time may have passed while nobody could ask, such as while Jenkins was down: a verdict that is there by then counts.
 */
void follow(Promotion promotion, long until) {
    try {
        promotion.follow(until)
    } catch (FlowInterruptedException interruption) {
        throw interruption
    } catch (Exception failure) {
        long late = System.currentTimeMillis() + 60000L
        if (late < until) {
            throw failure
        }
        lookOnceMore(promotion, late, failure)
    }
}

/** Throws `failure` if the server does not answer until `late` either; the end of a log is no reason to lose a verdict. */
void lookOnceMore(Promotion promotion, long late, Exception failure) {
    try {
        promotion.look(0, late)
        if (promotion.state.finished) {
            promotion.follow(late)
        }
    } catch (FlowInterruptedException interruption) {
        throw interruption
    } catch (Exception again) {
        if (!promotion.state.finished) {
            throw failure
        }
        echo('[canary] the end of the log could not be read: ' + again.message)
    }
}

/** Makes the promotion's result the build's. */
Map conclude(String canary, Map state, String onRolledBack) {
    String sentence = State.sentence(canary, state)
    if (state.result == 'Promoted') {
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
void callOff(Promotion promotion, Map settings, String name, String key, String body, String reason) {
    long until = System.currentTimeMillis() + (settings.abortWaitSeconds as long) * 1000L
    try {
        if (promotion.id == null && promotion.mayHaveStarted()) {
            // The request that was under way may have been taken. Only asking again with its key tells.
            promotion.start(name, key, body, until)
        }
        if (promotion.id != null) {
            promotion.callOff(settings.onAbort as String, reason, until)
            echo(promotion.state.finished ? State.sentence(settings.canary as String, promotion.state)
                : '[canary] ' + promotion.id + ' is not over yet; it ends without this build')
        }
    } catch (FlowInterruptedException again) {
        throw again
    } catch (Exception failure) {
        echo('[canary] could not call it off: ' + failure.message)
    }
}

void describe(Map given, String canary, Promotion promotion) {
    if (given.describe && promotion.id) {
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
    wish.requester = given.requester ?: requester(given.idempotencyKey as String)
    wish.policy = [conflict: settings.conflict, onAbort: settings.onAbort,
        deadlineSeconds: (given.deadlineSeconds ?: Math.max(60, (settings.timeoutMinutes as int) * 60)) as int]
    return wish
}

/** With a key that is not this build's alone, another build may ask again, and must then send the same body. */
Map requester(String key) {
    Map all = [kind: 'jenkins', controller: env.JENKINS_URL, job: env.JOB_NAME]
    if (!key || (env.BUILD_TAG && key.contains(env.BUILD_TAG))) {
        def causes = currentBuild.getBuildCauses('hudson.model.Cause$UserIdCause')
        all.buildNumber = currentBuild.number
        all.buildUrl = env.BUILD_URL
        all.buildTag = env.BUILD_TAG
        all.user = causes ? causes[0].userId : null
        all.commit = env.GIT_COMMIT
    }
    return Arguments.plain(all) as Map
}

String wrong(Map given, Map settings, String url) {
    List known = ['canary', 'image', 'images', 'await', 'url', 'credentialsId', 'timeoutMinutes', 'deadlineSeconds', 'conflict',
        'onAbort', 'onRolledBack', 'abortWaitSeconds', 'idempotencyKey', 'requester', 'describe', 'wait']
    return Arguments.wrong(given, known) ?: Arguments.wrongCanary(given.canary as String) ?: Arguments.wrongWish(given) ?:
        Arguments.wrongAddress(url) ?: Arguments.wrongNumber('timeoutMinutes', settings.timeoutMinutes) ?:
        Arguments.wrongNumber('abortWaitSeconds', settings.abortWaitSeconds) ?:
        Arguments.wrongChoice('conflict', settings.conflict, ['reject', 'queue', 'supersede']) ?:
        Arguments.wrongChoice('onAbort', settings.onAbort, ['rollback', 'pause', 'none']) ?:
        Arguments.wrongChoice('onRolledBack', settings.onRolledBack, ['FAILURE', 'UNSTABLE', 'ABORTED'])
}

String withoutSlash(Object url) {
    String address = url == null ? '' : url.toString()
    return address.endsWith('/') ? address.substring(0, address.length() - 1) : address
}
