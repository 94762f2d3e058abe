package harness

import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.SerializableScript
import org.codehaus.groovy.runtime.InvokerHelper

/**
 * What a pipeline and the library's steps are made of, as Jenkins' CpsScript: a call of a step suspends the program.
 *
 * A script is never saved itself, only its name: after a restart it is found again, as Jenkins does it.
 */
abstract class PipelineScript extends SerializableScript {
    static final List STEPS = ['echo', 'error', 'sleep', 'httpRequest', 'unstable', 'bind', 'unbind', 'limit', 'unlimit', 'mark', 'fail', 'meanwhile', 'input']
    static final List BLOCKS = ['withCredentials', 'timeout', 'retry']

    @Override
    Object invokeMethod(String name, Object args) {
        Object[] list = args instanceof Object[] ? args : [args] as Object[]
        if (name in Build.current.missing) {
            throw new NoSuchMethodError("No such DSL method '${name}' found among steps [archive, echo, error]" as String)
        }
        if (STEPS.contains(name)) {
            return Continuable.suspend([step: name, args: list as List])
        }
        if (BLOCKS.contains(name)) {
            return InvokerHelper.invokeMethod(Build.current.script('blocks'), name + 'Block', list)
        }
        if (name == 'string') {
            return list[0]
        }
        if (Build.current.isStep(name)) {
            return InvokerHelper.invokeMethod(Build.current.script(name), 'call', list)
        }
        return super.invokeMethod(name, args)
    }

    @Override
    Object getProperty(String name) {
        if (name == 'env') {
            return Build.ENV
        }
        if (name == 'currentBuild') {
            return Build.RUN
        }
        return Build.current.isStep(name) ? Build.current.script(name) : super.getProperty(name)
    }

    Object writeReplace() {
        return new Named(name: Build.current.nameOf(this))
    }

    static class Named implements Serializable {
        private static final long serialVersionUID = 1L
        String name

        Object readResolve() {
            return Build.current.script(name)
        }
    }
}
