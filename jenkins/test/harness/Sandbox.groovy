package harness

import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.Envs
import com.cloudbees.groovy.cps.SandboxCpsTransformer
import com.cloudbees.groovy.cps.sandbox.SandboxInvoker
import org.kohsuke.groovy.sandbox.GroovyInterceptor

/**
 * Runs the library as Jenkins runs one that a folder brings along: in the sandbox.
 *
 * sandbox-allowed.txt names what the library calls outside itself; every line is allowed by Jenkins' own list. A call that
 * is not listed fails the build, but for the causes of an interruption: the library does without where they are refused.
 */
class Sandbox extends GroovyInterceptor {
    private static final Set ALLOWED = new File(Paths.tests, 'harness/sandbox-allowed.txt').readLines('UTF-8').findAll { it && !it.startsWith('#') } as Set

    static Object transformer() {
        return new SandboxCpsTransformer()
    }

    static Continuable program(Script script) {
        return new Continuable(script, Envs.empty(new SandboxInvoker()))
    }

    private static void check(String kind, Class type, String member) {
        String name = type.name
        boolean own = ['dev.bellwether.', 'canary', 'pipeline', 'blocks', 'harness.'].any { name.startsWith(it) } || name.startsWith('org.kohsuke.')
        String call = "${kind} ${name} ${member}"
        // An index that is a name would be a property in disguise, which the sandbox refuses everywhere.
        if (!(own && !(kind in ['getAt', 'putAt'])) && !ALLOWED.contains(call)) {
            throw new SecurityException('not allowed in the sandbox: ' + call)
        }
    }

    Object onMethodCall(GroovyInterceptor.Invoker invoker, Object receiver, String method, Object... args) {
        check('method', receiver.getClass(), method)
        return super.onMethodCall(invoker, receiver, method, args)
    }

    Object onStaticCall(GroovyInterceptor.Invoker invoker, Class receiver, String method, Object... args) {
        check('static', receiver, method)
        return super.onStaticCall(invoker, receiver, method, args)
    }

    Object onNewInstance(GroovyInterceptor.Invoker invoker, Class receiver, Object... args) {
        check('new', receiver, '')
        return super.onNewInstance(invoker, receiver, args)
    }

    Object onGetProperty(GroovyInterceptor.Invoker invoker, Object receiver, String property) {
        if (!(receiver instanceof Class) && !(receiver instanceof Map)) {
            check('get', receiver.getClass(), property)
        }
        return super.onGetProperty(invoker, receiver, property)
    }

    Object onSetProperty(GroovyInterceptor.Invoker invoker, Object receiver, String property, Object value) {
        if (!(receiver instanceof Map)) {
            check('set', receiver.getClass(), property)
        }
        return super.onSetProperty(invoker, receiver, property, value)
    }

    Object onGetArray(GroovyInterceptor.Invoker invoker, Object receiver, Object index) {
        check('getAt', receiver.getClass(), index instanceof Integer ? 'int' : index.getClass().name)
        return super.onGetArray(invoker, receiver, index)
    }

    Object onSetArray(GroovyInterceptor.Invoker invoker, Object receiver, Object index, Object value) {
        check('putAt', receiver.getClass(), index instanceof Integer ? 'int' : index.getClass().name)
        return super.onSetArray(invoker, receiver, index, value)
    }
}
