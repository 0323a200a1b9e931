import Glibc
import ImageTools
import Platform
import SystemPackage

/// Listening sockets for who looks at displays, made before the display server has its sandbox.
enum ViewerListener {
    /// A socket for an address: the path of a Unix socket, or `ADDRESS:PORT` with an IPv4 address in numbers.
    ///
    /// - Parameter hasPassword: whether viewers must know a password: only then others than this machine may connect.
    static func open(_ address: String, hasPassword: Bool) throws(ToolFailure) -> SharedDescriptor {
        let place = parse(address)
        if !address.hasPrefix("/") {
            guard let place else { throw ToolFailure("\(address) is neither a path nor ADDRESS:PORT") }
            guard hasPassword || UInt32(bigEndian: place.sin_addr.s_addr) >> 24 == 127 else {
                throw ToolFailure("\(address) can be reached from elsewhere: set display.password-file")
            }
        }
        do throws(Errno) {
            guard let place else { return try listen(atPath: address) }
            return try listen(place)
        } catch {
            throw ToolFailure("cannot listen on \(address): \(error)")
        }
    }

    /// The file of a socket stays when a mount ends: where nobody listens any more, the new socket takes its place.
    private static func listen(atPath path: String) throws(Errno) -> SharedDescriptor {
        do throws(Errno) {
            return try SystemCall.listen(atPath: path)
        } catch {
            guard error == .addressInUse, isAbandoned(path) else { throw error }
        }
        _ = unsafe unlink(path)
        return try SystemCall.listen(atPath: path)
    }

    private static func isAbandoned(_ path: String) -> Bool {
        do throws(Errno) {
            // A connection to a plain file is refused, too.
            guard try SystemCall.statusAt(AT_FDCWD, path).st_mode & S_IFMT == S_IFSOCK else { return false }
            _ = try SystemCall.connect(toPath: path)
            return false
        } catch {
            return error == .connectionRefused
        }
    }

    private static func parse(_ address: String) -> sockaddr_in? {
        let parts = address.split(separator: ":")
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else { return nil }
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_port = port.bigEndian
        guard unsafe inet_pton(AF_INET, String(parts[0]), &place.sin_addr) == 1 else { return nil }
        return place
    }

    private static func listen(_ place: sockaddr_in) throws(Errno) -> SharedDescriptor {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let number = socket(AF_INET, kind, 0)
        guard number >= 0 else { throw Errno(rawValue: errno) }
        let descriptor = SharedDescriptor(adopting: number)
        var place = place
        var isReused: Int32 = 1
        unsafe setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &isReused, socklen_t(MemoryLayout<Int32>.size))
        let result = unsafe withUnsafePointer(to: &place) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0, Glibc.listen(number, 16) == 0 else { throw Errno(rawValue: errno) }
        return descriptor
    }
}
