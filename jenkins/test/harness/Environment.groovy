package harness

/** `env`: what is bound hides what is set. */
class Environment implements Serializable {
    Object propertyMissing(String name) {
        return Build.current.variable(name)
    }

    void propertyMissing(String name, Object value) {
        Build.current.env.put(name, value as String)
    }

    Object getAt(String name) {
        return Build.current.variable(name)
    }

    void putAt(String name, Object value) {
        Build.current.env.put(name, value as String)
    }

    Object readResolve() {
        return Build.ENV
    }
}
