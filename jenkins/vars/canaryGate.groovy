import dev.bellwether.Arguments
import dev.bellwether.Failures
import dev.bellwether.Hook
import dev.bellwether.Memory
import dev.bellwether.Promotion
import dev.bellwether.Text
import hudson.AbortException
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** Runs a block at a gate: approves the gate when the block succeeds, rejects it when its checks fail. See canaryGate.txt. */
Object call(Map args = [:], Closure body) {
    Map named = Arguments.plain(args) as Map
    String url = Arguments.withoutSlash(named.url ?: env.BELLWETHER_URL)
    Map given = Arguments.withPromotion(named, url, env."${Memory.VARIABLE}" as String, env.STAGE_NAME as String)
    Map settings = canaryPromote.defaults() + given
    String problem = Arguments.wrong(named, Arguments.OWN + ['gate', 'comment', 'submitter', 'whenHeld', 'onLost']) ?: Arguments.wrongCommon(given, url) ?:
        Arguments.wrongPromotion(given.namespace as String, given.promotion as String) ?: canaryPromote.wrongSettings(settings) ?:
        (given.gate ? null : 'gate is needed')
    if (problem) {
        error('canaryGate: ' + problem)
    }
    Promotion promotion = new Promotion(canaryPromote.hook(url, given), given.namespace as String, given.promotion as String)
    long until = System.currentTimeMillis() + ((given.minutes ?: 45) as long) * 60000L
    String gate = given.gate
    if (given.whenHeld != false && !isToDecide(promotion, gate, until, settings)) {
        return null
    }
    Object result = null
    try {
        result = body()
    } catch (Throwable failure) {
        judge(promotion, gate, failure)
        throw failure
    }
    if (given.submitter == true) {
        if (!(result instanceof CharSequence) || !result.toString()) {
            error('canaryGate: submitter: true needs a block that returns who answered, as input does with submitterParameter alone. The gate ' +
                gate + ' stays closed; ' + promotion.goesOn())
        }
        given.submitter = result.toString()
    }
    try {
        promotion.settle(gate, true, Arguments.comment(given, env.BUILD_TAG as String), given.submitter as String, settleUntil())
    } catch (FlowInterruptedException interruption) {
        reject(promotion, gate, interruption)
        throw interruption
    } catch (Exception failure) {
        lose(promotion, settings, failure)
    }
    return result
}

/** Waits for the gate, because another hold comes before any traffic of the canary; whether there is anything left to decide. */
boolean isToDecide(Promotion promotion, String gate, long until, Map settings) {
    String at = null
    try {
        at = promotion.untilAt(gate, until)
    } catch (FlowInterruptedException interruption) {
        // Nobody else watches the promotion: it was started without waiting.
        if (canaryPromote.agentIsGone(interruption)) {
            undecided(promotion, gate, 'the agent is gone')
        } else {
            reject(promotion, gate, interruption)
        }
        throw interruption
    } catch (Exception failure) {
        lose(promotion, settings, failure)
    }
    Map state = promotion.state
    if (at == 'Open' && (!state.finished || state.result == 'Promoted')) {
        echo('[canary] ' + gate + ' of ' + promotion.id + ' is open already; nothing is left to be decided')
        return false
    }
    if (state.finished) {
        error('canaryGate: ' + promotion.id + ' is over already: ' + state.result + (state.expired ? ', ' + state.message : ''))
    }
    if (at == null) {
        String late = promotion.id + ' did not come to the gate ' + gate + ' in time' + (state.held ? ', it is held: ' + state.held : '')
        if (settings.onLost == 'abort') {
            canaryPromote.callOff(promotion, settings, null, late)
        }
        error('canaryGate: no verdict about the release: ' + late + (promotion.state.finished ? '' : '; ' + promotion.goesOn()))
    }
    if (at != 'Waiting' && at != 'Running') {
        error('canaryGate: ' + gate + ' of ' + promotion.id + ' is settled already: ' + at)
    }
    return true
}

/** Something other than an answer came: nothing is decided, and the step fails with what becomes of the release. */
void lose(Promotion promotion, Map settings, Exception failure) {
    if (failure instanceof AbortException && !failure.message.contains(Hook.FAULT)) {
        // What the server itself has said.
        throw failure
    }
    canaryPromote.lose(promotion, settings, null, failure)
}

/** What the failure of the block says about the release: no, or nothing. */
void judge(Promotion promotion, String gate, Throwable failure) {
    if (failure instanceof FlowInterruptedException) {
        if (canaryPromote.agentIsGone(failure)) {
            undecided(promotion, gate, 'the agent is gone')
            return
        }
    } else if (Failures.isFault(failure)) {
        undecided(promotion, gate, Text.line(failure.toString()))
        return
    }
    reject(promotion, gate, failure)
}

/** Says that the gate is as it was, and who may settle it. */
void undecided(Promotion promotion, String gate, String why) {
    echo('[canary] ' + Hook.FAULT + Arguments.words(why) + '. The gate ' + gate + ' stays closed until somebody settles it: run this stage again, or ' +
        'use canaryApprove; ' + promotion.goesOn())
}

/** Rejects without hiding why the block failed. */
void reject(Promotion promotion, String gate, Throwable failure) {
    try {
        promotion.settle(gate, false, (env.BUILD_TAG ?: '') + ': ' + (failure.message ?: 'interrupted'), null, settleUntil())
    } catch (FlowInterruptedException again) {
        throw again
    } catch (Exception problem) {
        echo('[canary] could not reject ' + gate + ': ' + Text.line(problem.message) + '; ' + promotion.goesOn())
    }
}

/** Less than the minute of grace that Jenkins gives a block that it interrupts. */
long settleUntil() {
    return System.currentTimeMillis() + 45000L
}
