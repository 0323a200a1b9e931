import CTLS
import Glibc
import Platform
import SystemPackage

/// Whose certificates are trusted; sessions are made from it. Made ready at the first use: the system's hundred and more certificates
/// take a while to read.
@safe
final class TLSContext: @unchecked Sendable {
    private let certificates: SharedDescriptor?
    private let context = unsafe Locked<OpaquePointer?>(nil)

    /// - Parameter certificates: a file of certificates in PEM form; nil: nobody is trusted.
    init(certificates: SharedDescriptor?) { self.certificates = certificates }

    deinit { unsafe context.withLock { unsafe SSL_CTX_free($0) } }

    /// Reads the certificates if that wasn't done.
    func prepare() throws(Errno) { _ = try unsafe prepared() }

    /// A session with a server that must prove that it has this name.
    func session(host: String, isNumeric: Bool) throws(Errno) -> TLSSession {
        guard let session = unsafe SSL_new(try prepared()) else { throw .noMemory }
        return try unsafe TLSSession(session, host: host, isNumeric: isNumeric)
    }

    private func prepared() throws(Errno) -> OpaquePointer {
        try unsafe context.withLock { known throws(Errno) -> OpaquePointer in
            if let known = unsafe known { return unsafe known }
            // No file of configuration: there is none in the sandbox.
            guard OPENSSL_init_ssl(UInt64(OPENSSL_INIT_NO_LOAD_CONFIG), nil) == 1,
                let made = unsafe SSL_CTX_new(TLS_client_method())
            else { throw .noMemory }
            guard unsafe ctls_require_modern(made) == 1 else {
                unsafe SSL_CTX_free(made)
                throw .noMemory
            }
            unsafe SSL_CTX_set_verify(made, SSL_VERIFY_PEER, nil)
            if let certificates { unsafe Self.trust(try Self.contents(certificates), made) }
            unsafe known = made
            return unsafe made
        }
    }

    private static func trust(_ text: [UInt8], _ context: OpaquePointer) {
        guard let source = unsafe BIO_new_mem_buf(text, Int32(clamping: text.count)),
            let store = unsafe SSL_CTX_get_cert_store(context)
        else { return }
        defer { unsafe BIO_free(source) }
        while let certificate = unsafe PEM_read_bio_X509(source, nil, nil, nil) {
            unsafe X509_STORE_add_cert(store, certificate)
            unsafe X509_free(certificate)
        }
        ERR_clear_error()
    }

    /// The file's position is shared with the other incarnations: not used.
    private static func contents(_ file: SharedDescriptor) throws(Errno) -> [UInt8] {
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while result.count < 16 << 20 {
            var span = chunk.mutableSpan
            var raw = unsafe span.mutableBytes
            let count = try SystemCall.read(file.rawValue, at: UInt64(result.count), into: &raw)
            if count == 0 { break }
            result += chunk[..<count]
        }
        return result
    }
}
