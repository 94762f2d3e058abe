import dev.bellwether.Arguments
import dev.bellwether.Hook
import dev.bellwether.Promotion

/** Reads the state of a Canary or of one promotion. See canaryStatus.txt. */
Map call(Map args = [:]) {
    Map given = Arguments.plain(args) as Map
    String url = Arguments.withoutSlash(given.url ?: env.BELLWETHER_URL)
    String namespace = Arguments.namespace(given)
    String problem = Arguments.wrong(given, Arguments.COMMON) ?: Arguments.wrongCommon(given, url) ?:
        (given.promotion ? Arguments.wrongPromotion(namespace, given.promotion as String) : Arguments.wrongCanary(given.canary as String))
    if (problem) {
        error('canaryStatus: ' + problem)
    }
    Hook hook = canaryPromote.hook(url, given)
    long until = System.currentTimeMillis() + ((given.minutes ?: 5) as long) * 60000L
    if (given.promotion) {
        Promotion promotion = new Promotion(hook, namespace, given.promotion as String)
        promotion.look(until)
        return promotion.state
    }
    String canary = given.canary
    String path = '/v1/namespaces/' + namespace + '/canaries/' + canary.substring(canary.indexOf('/') + 1)
    Map answer = hook.ask(verb: 'GET', path: path, expects: 'object', until: until)
    return answer.document as Map
}
