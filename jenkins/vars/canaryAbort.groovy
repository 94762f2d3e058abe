import dev.bellwether.Arguments
import dev.bellwether.Hook
import dev.bellwether.Promotion
import dev.bellwether.State

/** Calls a promotion off and waits for its result. See canaryAbort.txt. */
Map call(Map args = [:]) {
    Map given = Arguments.plain(args) as Map
    String url = canaryPromote.withoutSlash(given.url ?: env.BELLWETHER_URL)
    String namespace = Arguments.namespace(given)
    String action = given.action ?: 'rollback'
    List known = ['promotion', 'action', 'reason', 'canary', 'namespace', 'url', 'credentialsId', 'minutes']
    String problem = Arguments.wrong(given, known) ?: Arguments.wrongPromotion(namespace, given.promotion as String) ?:
        Arguments.wrongAddress(url) ?: Arguments.wrongNumber('minutes', given.minutes ?: 5) ?:
        Arguments.wrongChoice('action', action, ['rollback', 'pause', 'none'])
    if (problem) {
        error('canaryAbort: ' + problem)
    }
    Promotion promotion = new Promotion(new Hook(this, url, (given.credentialsId ?: 'bellwether') as String), namespace,
        given.promotion as String)
    promotion.printed = (env."${State.variable(url, promotion.id)}" ?: '0') as long
    long until = System.currentTimeMillis() + ((given.minutes ?: 5) as long) * 60000L
    try {
        return promotion.callOff(action, (given.reason ?: env.BUILD_TAG ?: '') as String, until)
    } finally {
        promotion.remember()
    }
}
