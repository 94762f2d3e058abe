import dev.bellwether.Arguments
import dev.bellwether.Memory
import dev.bellwether.Promotion
import dev.bellwether.Text
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** Calls a promotion off and waits for its result; fails if it is not over in time. See canaryAbort.txt. */
Map call(Map args = [:]) {
    Map named = Arguments.plain(args) as Map
    String url = Arguments.withoutSlash(named.url ?: env.BELLWETHER_URL)
    Map given = Arguments.withPromotion(named, url, env."${Memory.VARIABLE}" as String, env.STAGE_NAME as String)
    String action = given.action ?: 'rollback'
    String problem = Arguments.wrong(named, Arguments.OWN + ['action', 'reason']) ?: Arguments.wrongCommon(given, url) ?:
        Arguments.wrongPromotion(given.namespace as String, given.promotion as String) ?:
        Arguments.wrongChoice('action', action, ['rollback', 'pause', 'none'])
    if (problem) {
        error('canaryAbort: ' + problem)
    }
    Promotion promotion = new Promotion(canaryPromote.hook(url, given), given.namespace as String, given.promotion as String)
    promotion.recall()
    long until = System.currentTimeMillis() + ((given.minutes ?: 5) as long) * 60000L
    try {
        promotion.callOff(action, (given.reason ?: env.BUILD_TAG ?: '') as String, until)
    } catch (FlowInterruptedException interruption) {
        throw interruption
    } catch (Exception failure) {
        if (!promotion.state.finished) {
            canaryPromote.lose(promotion, [:], null, failure)
        }
        echo('[canary] the end of the log could not be read: ' + Text.line(failure.message ?: failure.toString()))
    } finally {
        promotion.remember()
    }
    if (!promotion.state.finished) {
        error('canaryAbort: ' + promotion.id + ' is not over yet; ' + promotion.goesOn())
    }
    return promotion.state
}
