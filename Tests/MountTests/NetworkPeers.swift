import Glibc
import Platform
import Synchronization
import SystemPackage
import TestSupport

/// Bytes that a seed determines.
func pattern(_ seed: UInt64, _ count: Int) -> [UInt8] {
    var random = SplitMix(seed: seed)
    return (0..<(count + 7) / 8).flatMap { _ in
        let word = random.next()
        return (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
    }.prefix(count).map { $0 }
}

func open(_ path: String) throws -> Int32 {
    let file = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC)
    if file < 0 { throw Errno(rawValue: errno) }
    return file
}

/// What opening fails with; 0 if it doesn't.
func errno(of path: String) -> Int32 {
    errno { close(try open(path)) }
}

func errno(_ body: () throws -> some Any) -> Int32 {
    do {
        _ = try body()
        return 0
    } catch {
        return (error as? Errno)?.rawValue ?? -1
    }
}

/// Writes all; a socket that doesn't block is waited for. What can't be written shows at the other end.
func sendAll(_ file: Int32, _ bytes: [UInt8]) {
    var done = 0
    while done < bytes.count {
        let count = unsafe bytes.withUnsafeBytes {
            unsafe write(file, $0.baseAddress?.advanced(by: done), bytes.count - done)
        }
        if count < 0, Glibc.errno == EAGAIN {
            waitFor(file, POLLOUT)
        } else if count <= 0 {
            return
        } else {
            done += count
        }
    }
}

/// Reads so many bytes, fewer at the end of the stream.
func receive(_ file: Int32, _ count: Int) -> [UInt8] {
    var result: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while result.count < count {
        let found = unsafe read(file, &buffer, min(buffer.count, count - result.count))
        if found < 0, Glibc.errno == EAGAIN {
            waitFor(file, POLLIN)
        } else if found <= 0 {
            break
        } else {
            result += buffer[..<found]
        }
    }
    return result
}

private func waitFor(_ file: Int32, _ events: Int32) {
    var entry = pollfd(fd: file, events: Int16(events), revents: 0)
    _ = unsafe Glibc.poll(&entry, 1, -1)
}

/// The text of an open file, without the line's end.
func text(_ file: Int32) -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = unsafe pread(file, &buffer, buffer.count, 0)
    return String(
        String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: true
        ).joined(separator: "\n"))
}

func textFile(_ path: String) throws -> String {
    let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
    if file < 0 { throw Errno(rawValue: Glibc.errno) }
    defer { close(file) }
    return text(file)
}

/// What a script writes.
func runScript(_ script: String) throws -> String {
    guard let stream = unsafe popen(script, "r") else { throw Errno(rawValue: errno) }
    defer { unsafe pclose(stream) }
    var result: [UInt8] = []
    while case let byte = unsafe fgetc(stream), byte != EOF { result.append(UInt8(truncatingIfNeeded: byte)) }
    return String(decoding: result, as: UTF8.self)
}

/// A listening socket of the test itself.
final class Listener: Sendable {
    let socket: SharedDescriptor
    let port: UInt16

    init(isIPv6: Bool = false, port: UInt16 = 0) throws {
        socket = try SystemCall.socket(.stream, isIPv6: isIPv6)
        guard let address = SocketAddress(numeric: isIPv6 ? "::1" : "127.0.0.1", port: port) else {
            throw Errno.invalidArgument
        }
        try SystemCall.bind(socket.rawValue, to: address)
        try SystemCall.listen(socket.rawValue, backlog: 1024)
        self.port = try SystemCall.localAddress(socket.rawValue).port
    }

    /// The next caller, a descriptor of the caller's own; waits for it.
    func accept() throws -> Int32 {
        while true {
            if let found = try SystemCall.acceptInternet(socket.rawValue) { return dup(found.rawValue) }
            waitFor(socket.rawValue, POLLIN)
        }
    }
}

/// A port that nobody listens on.
func freePort() throws -> UInt16 { try Listener().port }

extension MountedSystem {
    /// Waits until the scheme listens at an address.
    func waitUntilListening(_ address: String) {
        while !((try? SystemCall.directoryNames("\(network)/tcp/listen")) ?? []).contains(address) { usleep(1000) }
    }
}

/// A connection to a port of this machine.
func connectLocally(_ port: UInt16) throws -> Int32 {
    let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw Errno(rawValue: Glibc.errno) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let result = unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            unsafe Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    if result != 0 {
        let code = Glibc.errno
        close(socket)
        throw Errno(rawValue: code)
    }
    return socket
}

/// Sends back whatever comes, on each connection, until its end.
final class EchoServer: Sendable {
    private let listener: Listener
    private let isStopped = Atomic<Bool>(false)
    private let closed = Locked(0)
    private let change = ConditionVariable()
    private let thread = Locked<JoinHandle?>(nil)

    var port: UInt16 { listener.port }

    init(isIPv6: Bool = false) throws {
        listener = try Listener(isIPv6: isIPv6)
        let acceptor = try spawnThread(name: "echo") { [self] in
            while let file = try? listener.accept(), !isStopped.load(ordering: .sequentiallyConsistent) {
                _ = try? spawnThread(name: "echo-stream", stackSize: 512 << 10) { [self] in serve(file) }
            }
        }
        thread.withLock { $0 = acceptor }
    }

    private func serve(_ file: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = unsafe read(file, &buffer, buffer.count)
            if count < 0, Glibc.errno == EAGAIN {
                waitFor(file, POLLIN)
            } else if count <= 0 {
                break
            } else {
                sendAll(file, Array(buffer[..<count]))
            }
        }
        close(file)
        closed.withLock { $0 += 1 }
        change.broadcast()
    }

    /// Waits until so many connections have ended.
    func waitUntilClosed(_ count: Int) { closed.wait(on: change) { $0 >= count ? () : nil } }

    /// Listens no more.
    func stop() {
        isStopped.store(true, ordering: .sequentiallyConsistent)
        // Ends the wait for a caller.
        shutdown(listener.socket.rawValue, Int32(SHUT_RDWR))
        thread.withLock { $0 }?.join()
    }
}
