import dev.bellwether.Arguments
import dev.bellwether.Hook
import dev.bellwether.Promotion

/** Approves or rejects a gate of a promotion, and waits for the outcome. See canaryApprove.txt. */
void call(Map args = [:]) {
    Map given = Arguments.plain(args) as Map
    String url = canaryPromote.withoutSlash(given.url ?: env.BELLWETHER_URL)
    String namespace = Arguments.namespace(given)
    List known = ['promotion', 'gate', 'canary', 'namespace', 'comment', 'reject', 'url', 'credentialsId', 'minutes']
    String problem = Arguments.wrong(given, known) ?: Arguments.wrongPromotion(namespace, given.promotion as String) ?:
        Arguments.wrongAddress(url) ?: Arguments.wrongNumber('minutes', given.minutes ?: 5) ?:
        (given.gate ? null : 'gate is needed')
    if (problem) {
        error('canaryApprove: ' + problem)
    }
    Promotion promotion = new Promotion(new Hook(this, url, (given.credentialsId ?: 'bellwether') as String), namespace,
        given.promotion as String)
    long until = System.currentTimeMillis() + ((given.minutes ?: 5) as long) * 60000L
    promotion.settle(given.gate as String, !given.reject, (given.comment ?: env.BUILD_TAG ?: '') as String, until)
}
