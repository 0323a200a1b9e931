import CTLS
import Glibc
import Platform
import SystemPackage
import Testing

@testable import NetworkScheme

/// What a peer can have a session keep for it has a limit.
struct SecureSessionTests {
    /// Each new key that a peer asks for is answered; it reads no answer, so they wait here.
    @Test func peersThatReadNothingAreGivenUp() throws {
        let peer = try SecurePeer()
        let session = try peer.connect()
        var requests = 0
        var failure: Errno?
        while failure == nil, requests < TLSSession.unsentLimit {
            for _ in 0..<64 { try peer.askForNewKey() }
            requests += 64
            try peer.send()
            do throws(Errno) {
                _ = try session.read(peer.client.rawValue, limit: 100)
            } catch {
                if error != .wouldBlock { failure = error }
            }
        }
        #expect(failure == .noBufferSpace)
        // An answer is a record of less than 64 bytes: the limit was reached, not something else.
        #expect(requests > TLSSession.unsentLimit / 64)
    }

    /// A write is made into records only when the one before is sent.
    @Test func whatIsWrittenWaitsInOneChunk() throws {
        let peer = try SecurePeer()
        let session = try peer.connect()
        let chunk = [UInt8](repeating: 5, count: TLSSession.chunkBytes)
        while try session.flush(peer.client.rawValue) { try session.encrypt(chunk) }
        // As long as the peer doesn't read it stays so, however often it is tried.
        for _ in 0..<100 { #expect(try !session.flush(peer.client.rawValue)) }
        var received = try peer.receive()
        while try !session.flush(peer.client.rawValue) { received += try peer.receive() }
        received += try peer.receive()
        #expect(received > 0 && received % TLSSession.chunkBytes == 0)
    }
}

/// The other side of a session, with a certificate of its own making; nothing is sent or read but on command.
@safe
private final class SecurePeer {
    /// The session's socket; it takes little.
    let client: SharedDescriptor
    private let server: SharedDescriptor
    private let session: OpaquePointer
    private let input: OpaquePointer
    private let output: OpaquePointer
    private let trust: SharedDescriptor

    struct Fault: Error {}

    init() throws {
        var pair: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard unsafe socketpair(AF_UNIX, kind, 0, &pair) == 0 else { throw Errno(rawValue: errno) }
        client = SharedDescriptor(adopting: pair[0])
        server = SharedDescriptor(adopting: pair[1])
        try SystemCall.setSocketOption(client.rawValue, level: SOL_SOCKET, name: SO_SNDBUF, value: 8192)
        let (key, certificate) = try unsafe Self.makeCertificate()
        defer {
            unsafe EVP_PKEY_free(key)
            unsafe X509_free(certificate)
        }
        trust = try unsafe Self.file(certificate)
        guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { throw Fault() }
        defer { unsafe SSL_CTX_free(context) }
        guard unsafe SSL_CTX_use_certificate(context, certificate) == 1,
            unsafe SSL_CTX_use_PrivateKey(context, key) == 1,
            let session = unsafe SSL_new(context), let input = unsafe BIO_new(BIO_s_mem()),
            let output = unsafe BIO_new(BIO_s_mem())
        else { throw Fault() }
        unsafe SSL_set_bio(session, input, output)
        unsafe SSL_set_accept_state(session)
        unsafe self.session = session
        unsafe self.input = input
        unsafe self.output = output
    }

    deinit { unsafe SSL_free(session) }

    /// A session with this peer.
    func connect() throws -> TLSSession {
        let result = try TLSContext(certificates: trust).session(host: "localhost", isNumeric: false)
        var isDone = false
        while !isDone {
            isDone = try result.handshake(client.rawValue) == nil
            try fetch()
            _ = unsafe SSL_do_handshake(session)
            try send()
        }
        return result
    }

    /// Makes a request for a new key; `send` sends it.
    func askForNewKey() throws {
        guard unsafe SSL_key_update(session, SSL_KEY_UPDATE_REQUESTED) == 1, unsafe SSL_do_handshake(session) == 1
        else { throw Fault() }
    }

    /// Sends what was made.
    func send() throws {
        var records = [UInt8](repeating: 0, count: 65536)
        while unsafe BIO_ctrl_pending(output) > 0 {
            let count = unsafe BIO_read(output, &records, Int32(records.count))
            guard unsafe Glibc.send(server.rawValue, records, Int(count), 0) == Int(count) else {
                throw Errno(rawValue: errno)
            }
        }
    }

    /// Takes all that has come; the bytes of the application in it.
    func receive() throws -> Int {
        try fetch()
        var bytes = [UInt8](repeating: 0, count: 16384)
        var total = 0
        while case let count = unsafe SSL_read(session, &bytes, Int32(bytes.count)), count > 0 { total += Int(count) }
        return total
    }

    private func fetch() throws {
        while let records = try SystemCall.receiveSome(server.rawValue), !records.isEmpty {
            guard unsafe BIO_write(input, records, Int32(records.count)) == Int32(records.count) else { throw Fault() }
        }
    }

    private static func makeCertificate() throws -> (key: OpaquePointer, certificate: OpaquePointer) {
        guard let maker = unsafe EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil) else { throw Fault() }
        defer { unsafe EVP_PKEY_CTX_free(maker) }
        var made: OpaquePointer?
        guard unsafe EVP_PKEY_keygen_init(maker) == 1, unsafe EVP_PKEY_keygen(maker, &made) == 1,
            let key = unsafe made, let certificate = unsafe X509_new()
        else { throw Fault() }
        let name = unsafe X509_get_subject_name(certificate)
        unsafe ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1)
        unsafe X509_gmtime_adj(X509_getm_notBefore(certificate), -3600)
        unsafe X509_gmtime_adj(X509_getm_notAfter(certificate), 3600)
        guard unsafe X509_set_pubkey(certificate, key) == 1,
            unsafe X509_NAME_add_entry_by_txt(name, "CN", 0x1001, "localhost", -1, -1, 0) == 1,
            unsafe X509_set_issuer_name(certificate, name) == 1, unsafe X509_sign(certificate, key, nil) > 0
        else { throw Fault() }
        return unsafe (key, certificate)
    }

    /// The certificate as a file of those who are trusted.
    private static func file(_ certificate: OpaquePointer) throws -> SharedDescriptor {
        guard let text = unsafe BIO_new(BIO_s_mem()) else { throw Fault() }
        defer { unsafe BIO_free(text) }
        guard unsafe PEM_write_bio_X509(text, certificate) == 1 else { throw Fault() }
        var bytes = [UInt8](repeating: 0, count: unsafe BIO_ctrl_pending(text))
        _ = unsafe BIO_read(text, &bytes, Int32(bytes.count))
        let result = SharedDescriptor(try SharedMemory.create(name: "trust", byteCount: 4096))
        let span = bytes.span
        try SystemCall.writeAll(result.rawValue, unsafe span.bytes)
        return result
    }
}
