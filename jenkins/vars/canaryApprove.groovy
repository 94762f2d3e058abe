import dev.bellwether.Arguments
import dev.bellwether.Memory
import dev.bellwether.Promotion
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** Approves or rejects a gate of a promotion, and waits for the outcome. See canaryApprove.txt. */
void call(Map args = [:]) {
    Map named = Arguments.plain(args) as Map
    String url = Arguments.withoutSlash(named.url ?: env.BELLWETHER_URL)
    Map given = Arguments.withPromotion(named, url, env."${Memory.VARIABLE}" as String, env.STAGE_NAME as String)
    String problem = Arguments.wrong(named, Arguments.OWN + ['gate', 'comment', 'submitter', 'reject']) ?: Arguments.wrongCommon(given, url) ?:
        Arguments.wrongPromotion(given.namespace as String, given.promotion as String) ?: (given.gate ? null : 'gate is needed')
    if (problem) {
        error('canaryApprove: ' + problem)
    }
    Promotion promotion = new Promotion(canaryPromote.hook(url, given), given.namespace as String, given.promotion as String)
    long until = System.currentTimeMillis() + ((given.minutes ?: 5) as long) * 60000L
    try {
        promotion.settle(given.gate as String, !given.reject, Arguments.comment(given, env.BUILD_TAG as String),
            given.submitter as String, until)
    } catch (FlowInterruptedException interruption) {
        throw interruption
    } catch (Exception failure) {
        canaryGate.lose(promotion, [:], failure)
    }
}
