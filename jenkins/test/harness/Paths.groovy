package harness

/** Where the library and its tests are. */
class Paths {
    static final File library = new File(System.getProperty('library'))
    static final File tests = new File(library, 'test')
}
