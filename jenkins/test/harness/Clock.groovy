package harness

/** The time that the library sees: with the fake server it passes only by what steps would have waited. */
class Clock {
    static boolean real = false
    private static long passed = 0

    static long now() {
        return real ? System.nanoTime().intdiv(1000000L) + EPOCH : START + passed
    }

    static void pass(long milliseconds) {
        if (real) {
            Thread.sleep(milliseconds)
        } else {
            passed += milliseconds
        }
    }

    private static final long START = 1767261600000L
    private static final long EPOCH = START - System.nanoTime().intdiv(1000000L)

    /** Dynamic calls, which is what the interpreter makes, go to this clock from now on. */
    static void install() {
        System.metaClass.static.currentTimeMillis = { -> Clock.now() }
    }
}
