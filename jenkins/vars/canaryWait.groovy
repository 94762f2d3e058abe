import dev.bellwether.Arguments
import dev.bellwether.Memory
import dev.bellwether.Promotion

/** Waits for a promotion that was started before, and makes its result the build's. See canaryWait.txt. */
Map call(Map args = [:]) {
    Map named = Arguments.plain(args) as Map
    List known = ['canary', 'namespace', 'promotion', 'id', 'url', 'credentialsId', 'httpProxy', 'timeoutMinutes', 'onAbort', 'onLost', 'onRolledBack',
        'abortWaitSeconds', 'describe', 'key']
    String url = Arguments.withoutSlash(named.url ?: env.BELLWETHER_URL)
    if (named.id && !named.promotion) {
        named.promotion = named.id
    }
    Map given = Arguments.withPromotion(named, url, env."${Memory.VARIABLE}" as String, env.STAGE_NAME as String)
    Map settings = canaryPromote.defaults() + given
    String problem = Arguments.wrong(named, known) ?: Arguments.wrongCommon(given, url) ?:
        Arguments.wrongPromotion(given.namespace as String, given.promotion as String) ?: canaryPromote.wrongSettings(settings)
    if (problem) {
        error('canaryWait: ' + problem)
    }
    String name = given.canary ?: given.namespace
    settings.canary = name
    return canaryPromote.see(new Promotion(canaryPromote.hook(url, given), given.namespace as String, given.promotion as String), name, settings, null)
}
