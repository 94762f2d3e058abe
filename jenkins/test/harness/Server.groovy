package harness

import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic

/** The hook server under the tests, and HTTP as the http_request plugin speaks it. */
class Server {
    final String url
    final String token
    /** Something on the way cuts long polls short. */
    boolean hurried = false

    Server(String url, String token) {
        this.url = url
        this.token = token
    }

    Response exchange(Map request, String fault) {
        // A server of another name, to which no request can be: it stands for one that is not on this machine.
        String address = (request.url as String).replace('http://bellwether.example/', url + '/')
        HttpURLConnection connection = new URL(address).openConnection() as HttpURLConnection
        connection.requestMethod = request.httpMode
        connection.connectTimeout = (request.timeout as int) * 1000
        connection.readTimeout = (request.timeout as int) * 1000
        connection.instanceFollowRedirects = false
        connection.setRequestProperty('X-Fake-Now', Clock.now() as String)
        request.customHeaders.each { connection.setRequestProperty(it.name as String, it.value as String) }
        if (fault) {
            connection.setRequestProperty('X-Fake-Fault', fault)
        }
        try {
            if (request.requestBody) {
                connection.doOutput = true
                connection.setRequestProperty('Content-Type', 'application/json')
                connection.outputStream.withStream { it.write((request.requestBody as String).getBytes('UTF-8')) }
            }
            Response response = read(connection)
            // Older releases of the plugin follow a redirect of a GET, to whatever page is there, and take all headers along.
            String location = response.headers.find { it.key.equalsIgnoreCase('Location') }?.value?.getAt(0)
            if (request.httpMode == 'GET' && response.status in 300..399 && location) {
                return exchange(request + [url: new URL(new URL(request.url as String), location).toString()], null)
            }
            return response
        } catch (ConnectException | SocketTimeoutException failure) {
            return new Response(status: 408, content: failure.toString() + ' as 408 Request Timeout')
        } catch (UnknownHostException failure) {
            return new Response(status: 404, content: 'UnknownHostException as 404 Not Found')
        }
    }

    private Response read(HttpURLConnection connection) {
        int status = connection.responseCode
        InputStream stream = status >= 400 ? connection.errorStream : connection.inputStream
        byte[] bytes = stream == null ? new byte[0] : stream.bytes
        Map headers = connection.headerFields.findAll { it.key != null }.collectEntries { [it.key, it.value as ArrayList] }
        String waited = headers.find { it.key.equalsIgnoreCase('X-Fake-Waited') }?.value?.getAt(0) ?: '0'
        Clock.pass(hurried ? 0L : ((waited as BigDecimal) * 1000) as long)
        return new Response(status: status, content: new String(bytes, charset(connection.contentType)), headers: headers as HashMap)
    }

    /** As Apache's client reads it: text without a charset is Latin-1. */
    private static String charset(String type) {
        int at = type == null ? -1 : type.indexOf('charset=')
        return at >= 0 ? type.substring(at + 8) : type?.startsWith('text/plain') ? 'ISO-8859-1' : 'UTF-8'
    }

    void reset(Map options) {
        fake('reset', options)
    }

    /** Every promotion goes on to its end while nobody asks. */
    void end() {
        fake('end', [:])
    }

    /** Keeps the promotions no more, and remembers only how they ended. */
    void forget(Map end) {
        fake('forget', end)
    }

    Map journal() {
        return fake('journal', [:])
    }

    private Map fake(String what, Map options) {
        HttpURLConnection connection = new URL(url + '/fake/' + what).openConnection() as HttpURLConnection
        connection.requestMethod = 'POST'
        connection.doOutput = true
        connection.outputStream.withStream { it.write(JsonOutput.toJson(options).bytes) }
        return new JsonSlurperClassic().parseText(connection.inputStream.getText('UTF-8')) as Map
    }
}
