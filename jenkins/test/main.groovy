/* Tests of the Jenkins library. Arguments: --url URL --token TOKEN, and for a real server --namespace --canary --image-good --image-bad. */
import harness.Build
import harness.Channel
import harness.Clock
import harness.Faults
import harness.Lost
import harness.OtherSteps
import harness.Outcomes
import harness.RealServer
import harness.Restarts
import harness.Server
import harness.Several
import harness.Suite

Map options = [:]
for (int i = 0; i + 1 < args.length; i += 2) {
    options[args[i].substring(2)] = args[i + 1]
}
assert GroovySystem.version == '2.4.21'
boolean real = options['image-good'] != null
Clock.real = real
Clock.install()
Suite suite = new Suite(new Server(options.url, options.token))
if (real) {
    RealServer.run(suite, options)
} else {
    if (Build.SANDBOXED) {
        Build.sandbox().newInstance().register()
    }
    Outcomes.run(suite)
    if (!Build.SANDBOXED) {
        Restarts.run(suite)
    }
    Faults.run(suite)
    OtherSteps.run(suite)
    Channel.run(suite)
    Lost.run(suite)
    Several.run(suite)
}
System.exit(suite.end())
