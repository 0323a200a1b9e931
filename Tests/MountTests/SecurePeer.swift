import Glibc
import Platform
import SystemPackage
import TestSupport

/// A certificate authority of the test's own, and servers with certificates from it, by the system's openssl and Python.
final class SecurePeers {
    let folder: TemporaryDirectory

    /// The authority's certificate.
    var authority: String { folder.file("ca.pem") }

    init() throws {
        folder = try TemporaryDirectory()
        try openssl(
            """
            req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj '/CN=Test authority' \
            -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem
            """)
        for (name, names) in [
            ("right", "DNS:localhost,IP:127.0.0.1"), ("wrong", "DNS:other.example,IP:127.0.0.9"),
        ] {
            try openssl(
                """
                req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj '/CN=\(name)' -keyout \(name).key \
                -out \(name).csr
                """)
            _ = try runScript("echo 'subjectAltName=\(names)' > '\(folder.file("\(name).ext"))'")
            try openssl(
                """
                x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile \(name).ext \
                -out \(name).pem
                """)
        }
    }

    private func openssl(_ arguments: String) throws {
        let result = try runScript("cd '\(folder.path)' && openssl \(arguments) 2>&1 && echo made")
        guard result.hasSuffix("made\n") else { throw Fault(description: result) }
    }

    struct Fault: Error, CustomStringConvertible {
        let description: String
    }

    /// The authority's certificate, as the scheme gets it.
    func certificates() throws -> [(name: String, descriptor: SharedDescriptor)] {
        [("certificates", SharedDescriptor(try SystemCall.open(authority, O_RDONLY)))]
    }

    /// A server that sends back what comes; see the program below for the ways to end.
    func echo(_ certificate: String = "right", end: String = "properly") throws -> SecureServer {
        _ = try runScript("cat > '\(folder.file("echo.py"))' <<'END'\n\(Self.program)\nEND")
        return try SecureServer(
            "cd '\(folder.path)' && exec python3 echo.py \(certificate).pem \(certificate).key \(end)")
    }

    /// `openssl s_server` with more arguments; in the folder, so that it can serve its files.
    func server(_ arguments: String) throws -> SecureServer {
        let port = try freePort()
        return try SecureServer(
            """
            cd '\(folder.path)' && echo \(port) $$ && exec openssl s_server -accept 127.0.0.1:\(port) \
            -cert right.pem -key right.key -quiet \(arguments) 2>&1
            """, waitingFor: port)
    }

    private static let program = """
        import os, socket, ssl, sys, threading, time
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], os.getpid(), flush=True)
        def serve(plain):
            try:
                stream = context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
                version = stream.version()
                # Reads nothing until it is told how much there will be.
                if sys.argv[3] == "late":
                    while not os.path.exists("count"): time.sleep(0.01)
                    rest, total = int(open("count").read()), 0
                    while rest > 0 and (data := stream.recv(65536)):
                        rest, total = rest - len(data), total + sum(data)
                    print("received", rest, total, flush=True)
                while data := stream.recv(65536):
                    stream.sendall(data)
                    # Cut off: the connection ends, the session doesn't.
                    if sys.argv[3] == "cut": os._exit(0)
                stream.unwrap()
                print("ended", version, context.sni, flush=True)
            except (ssl.SSLError, OSError) as error:
                print("failed", error, flush=True)
        def named(stream, name, context): context.sni = name
        context.sni = None
        context.sni_callback = named
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=serve, args=(plain,), daemon=True).start()
        """
}

/// A server in a process of its own, ended with the value.
@safe
final class SecureServer {
    let port: UInt16
    private let process: pid_t
    private let stream: UnsafeMutablePointer<FILE>

    fileprivate init(_ script: String, waitingFor listening: UInt16? = nil) throws {
        guard let stream = unsafe popen(script, "r") else { throw Errno(rawValue: errno) }
        unsafe self.stream = stream
        let words = unsafe Self.line(stream).split(separator: " ")
        guard words.count == 2, let port = UInt16(words[0]), let process = pid_t(words[1]) else {
            throw SecurePeers.Fault(description: "the server doesn't start")
        }
        self.port = port
        self.process = process
        if let listening {
            while true {
                if let probe = try? connectLocally(listening) {
                    close(probe)
                    break
                }
                guard kill(process, 0) == 0 else { throw SecurePeers.Fault(description: unsafe Self.line(stream)) }
                usleep(10_000)
            }
        }
    }

    private static func line(_ stream: UnsafeMutablePointer<FILE>) -> String {
        var result: [UInt8] = []
        while case let byte = unsafe fgetc(stream), byte != EOF, byte != 0x0a {
            result.append(UInt8(truncatingIfNeeded: byte))
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The next line that the server prints; waits for it.
    func nextLine() -> String { unsafe Self.line(stream) }

    deinit {
        kill(process, SIGKILL)
        unsafe pclose(stream)
    }
}
