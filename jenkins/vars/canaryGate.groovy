import dev.bellwether.Arguments
import dev.bellwether.Hook
import dev.bellwether.Promotion
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** Runs a block at a gate: approves the gate when the block succeeds, rejects it when it fails. See canaryGate.txt. */
Object call(Map args = [:], Closure body) {
    Map given = Arguments.plain(args) as Map
    String url = canaryPromote.withoutSlash(given.url ?: env.BELLWETHER_URL)
    String namespace = Arguments.namespace(given)
    List known = ['promotion', 'gate', 'canary', 'namespace', 'comment', 'whenHeld', 'url', 'credentialsId', 'minutes']
    String problem = Arguments.wrong(given, known) ?: Arguments.wrongPromotion(namespace, given.promotion as String) ?:
        Arguments.wrongAddress(url) ?: Arguments.wrongNumber('minutes', given.minutes ?: 45) ?:
        (given.gate ? null : 'gate is needed')
    if (problem) {
        error('canaryGate: ' + problem)
    }
    Promotion promotion = new Promotion(new Hook(this, url, (given.credentialsId ?: 'bellwether') as String), namespace,
        given.promotion as String)
    long until = System.currentTimeMillis() + ((given.minutes ?: 45) as long) * 60000L
    String gate = given.gate
    if (given.whenHeld != false && !isToDecide(promotion, gate, until)) {
        return null
    }
    Object result = null
    try {
        result = body()
    } catch (Throwable failure) {
        reject(promotion, gate, failure)
        throw failure
    }
    try {
        promotion.settle(gate, true, (given.comment ?: env.BUILD_TAG ?: '') as String, settleUntil())
    } catch (FlowInterruptedException interruption) {
        reject(promotion, gate, interruption)
        throw interruption
    }
    return result
}

/** Waits for the gate, because another hold comes before any traffic of the canary; whether there is anything left to decide. */
boolean isToDecide(Promotion promotion, String gate, long until) {
    String at = null
    try {
        at = promotion.untilAt(gate, until)
    } catch (FlowInterruptedException interruption) {
        // Nobody else watches the promotion: it was started without waiting.
        reject(promotion, gate, interruption)
        throw interruption
    }
    Map state = promotion.state
    if (at == 'Open' && (!state.finished || state.result == 'Promoted')) {
        echo('[canary] ' + gate + ' of ' + promotion.id + ' is open already; nothing is left to be decided')
        return false
    }
    if (state.finished) {
        error('canaryGate: ' + promotion.id + ' is over already: ' + state.result)
    }
    if (at == null) {
        error('canaryGate: ' + promotion.id + ' did not come to the gate ' + gate + ' in time' + (state.held ? ', it is held: ' + state.held : ''))
    }
    if (at != 'Waiting' && at != 'Running') {
        error('canaryGate: ' + gate + ' of ' + promotion.id + ' is settled already: ' + at)
    }
    return true
}

/** Rejects without hiding why the block failed. An agent that is gone has judged nothing, so the gate stays. */
void reject(Promotion promotion, String gate, Throwable failure) {
    if (failure instanceof FlowInterruptedException && canaryPromote.agentIsGone(failure)) {
        echo('[canary] the agent is gone; ' + gate + ' stays open')
        return
    }
    try {
        promotion.settle(gate, false, (env.BUILD_TAG ?: '') + ': ' + failure.message, settleUntil())
    } catch (FlowInterruptedException again) {
        throw again
    } catch (Exception problem) {
        echo('[canary] could not reject ' + gate + ': ' + problem.message)
    }
}

/** Less than the minute of grace that Jenkins gives a block that it interrupts. */
long settleUntil() {
    return System.currentTimeMillis() + 45000L
}
