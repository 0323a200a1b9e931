import Platform
import SchemeKit
import SystemPackage

/// `null`, `zero`, `rand`, `log` and `time`, one file each.
final class SmallScheme: Scheme {
    private let host: SchemeHost
    private static let names = ["log", "null", "rand", "time", "zero"]

    init(_ host: SchemeHost) { self.host = host }

    func entries(_ path: String) throws(Errno) -> [String] {
        guard path.isEmpty else { throw .notDirectory }
        return Self.names
    }

    func attributes(_ path: String) throws(Errno) -> NodeAttributes {
        if path.isEmpty { return NodeAttributes(node: 0, mode: ModeBits.directory | 0o555, links: 2) }
        guard Self.names.contains(path) else { throw .noSuchFileOrDirectory }
        let permissions: UInt32 = path == "log" ? 0o222 : path == "time" ? 0o444 : 0o666
        return NodeAttributes(node: 0, mode: ModeBits.regular | permissions, attributesValid: 1000, nameValid: 1000)
    }

    func setAttributes(_ path: String, _ changes: AttributeChangeSet, _ context: inout CallContext) throws(Errno) {
        // Opening with O_TRUNC, as a shell's ">" does, changes nothing here.
        if changes.changesPermissions { throw .notPermitted }
    }

    func open(
        _ path: String, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> any OpenFile {
        switch path {
        case "null": return NullFile()
        case "zero": return ZeroFile()
        case "rand": return RandomFile()
        case "log": return LogFile(host)
        case "time": return TimeFile()
        case "": throw .isDirectory
        default: throw flags & OpenFlags.create != 0 ? .permissionDenied : .noSuchFileOrDirectory
        }
    }
}

/// Takes everything, gives nothing.
private final class NullFile: OpenFile {
    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        0
    }

    func write(_ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        bytes.byteCount
    }
}

/// Zeros without end.
private final class ZeroFile: OpenFile {
    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        buffer.zeroAll()
        return buffer.byteCount
    }

    func write(_ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        bytes.byteCount
    }
}

/// Random bytes of the kernel. What is written is thrown away: the kernel needs no help.
private final class RandomFile: OpenFile {
    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        try SystemCall.randomBytes(into: &buffer)
        return buffer.byteCount
    }

    func write(_ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        bytes.byteCount
    }
}

/// Each line that is written goes into the supervisor's log, with the writer's process.
private final class LogFile: OpenFile {
    private let host: SchemeHost
    private var line: [UInt8] = []
    private static let longestLine = 1000

    init(_ host: SchemeHost) { self.host = host }

    func write(_ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        for index in 0..<bytes.byteCount {
            let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            if byte == 0x0a || line.count == Self.longestLine { emit(context.pid) }
            if byte != 0x0a { line.append(byte) }
        }
        return bytes.byteCount
    }

    private func emit(_ pid: UInt32) {
        host.log("[\(pid)] \(String(decoding: line, as: UTF8.self))")
        line = []
    }

    func close(_ context: inout CallContext) {
        if !line.isEmpty { emit(context.pid) }
    }
}

/// The time: reading gives seconds since 1970, a point, nine digits of nanoseconds, a line end.
private final class TimeFile: OpenFile {
    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int {
        let now = Clock.realtime()
        let nanoseconds = String(now.nanoseconds)
        let text = Array("\(now.seconds).\(String(repeating: "0", count: 9 - nanoseconds.count))\(nanoseconds)\n".utf8)
        return buffer.fill(from: text, at: offset)
    }
}
