import DiskFormat
import Glibc
import Platform
import SystemPackage

/// Reads a stream through a buffer: a tar archive from a pipe or a file.
public final class ByteReader {
    private let descriptor: Int32
    private let owner: OwnedFile?
    private let name: String
    private let buffer = AlignedBuffer(byteCount: 1 << 18)
    private var start = 0
    private var end = 0
    /// How many bytes were taken so far.
    public private(set) var position: UInt64 = 0

    /// Reads from an open descriptor, which stays open; `name` is for messages.
    public init(descriptor: Int32, name: String) {
        self.descriptor = descriptor
        owner = nil
        self.name = name
    }

    /// Opens a file, "-" for standard input.
    public init(path: String) throws(ToolFailure) {
        if path == "-" {
            descriptor = STDIN_FILENO
            owner = nil
            name = "standard input"
            return
        }
        do {
            let file = OwnedFile(try SystemCall.open(path, O_RDONLY))
            descriptor = file.descriptor.rawValue
            owner = file
        } catch {
            throw .system(error, "open", Array(path.utf8))
        }
        name = path
    }

    /// Lends up to `limit` bytes, at least one unless the stream has ended; returns how many there were.
    func next(limit: UInt64, _ body: (RawSpan) throws(ToolFailure) -> Void) throws(ToolFailure) -> Int {
        if start == end { try fill() }
        let count = Int(min(UInt64(end - start), limit))
        if count == 0 { return 0 }
        let buffer = buffer
        try body(buffer.bytes(start..<start + count))
        start += count
        position += UInt64(count)
        return count
    }

    /// Exactly `count` bytes; nil if the stream has ended before the first of them.
    func read(_ count: Int) throws(ToolFailure) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(min(count, 1 << 20))
        while result.count < count {
            let taken = try next(limit: UInt64(count - result.count)) { (bytes) throws(ToolFailure) in
                unsafe bytes.withUnsafeBytes { unsafe result.append(contentsOf: $0) }
            }
            if taken == 0 {
                if result.isEmpty { return nil }
                throw ended()
            }
        }
        return result
    }

    /// Leaves out `count` bytes.
    func skip(_ count: UInt64) throws(ToolFailure) {
        var rest = count
        while rest > 0 {
            let taken = try next(limit: rest) { (_) throws(ToolFailure) in }
            if taken == 0 { throw ended() }
            rest -= UInt64(taken)
        }
    }

    func ended() -> ToolFailure {
        ToolFailure("\(name) ends in the middle of an entry, after \(position) bytes", advice: "Is it complete?")
    }

    func damaged(_ what: String) -> ToolFailure {
        ToolFailure("\(name) is not a valid tar archive: \(what) near byte \(position)")
    }

    private func fill() throws(ToolFailure) {
        let buffer = buffer
        var bytes = buffer.mutableBytes
        do {
            end = try SystemCall.read(descriptor, into: &bytes)
            start = 0
        } catch {
            throw .system(error, "read", Array(name.utf8))
        }
    }
}

/// Writes a stream through a buffer.
public final class ByteWriter {
    private let descriptor: Int32
    private let name: String
    private let buffer = AlignedBuffer(byteCount: 1 << 18)
    private var used = 0
    /// How many bytes were written so far.
    public private(set) var position: UInt64 = 0

    /// Writes to an open descriptor, which stays open; `name` is for messages.
    public init(descriptor: Int32, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    func write(_ bytes: RawSpan) throws(ToolFailure) {
        var done = 0
        while done < bytes.byteCount {
            if used == buffer.byteCount { try flush() }
            let count = min(buffer.byteCount - used, bytes.byteCount - done)
            buffer.copyBytes(from: bytes.extracting(done..<done + count), at: used)
            used += count
            done += count
        }
        position += UInt64(bytes.byteCount)
    }

    func write(_ bytes: [UInt8]) throws(ToolFailure) {
        try write(bytes.rawBytes)
    }

    func writeZeros(_ count: Int) throws(ToolFailure) {
        try write([UInt8](repeating: 0, count: count))
    }

    /// Passes on what is buffered.
    public func flush() throws(ToolFailure) {
        let buffer = buffer
        do {
            try SystemCall.writeAll(descriptor, buffer.bytes(0..<used))
            used = 0
        } catch {
            throw .system(error, "write to", Array(name.utf8))
        }
    }
}

/// A descriptor that several may hold: closed with the last reference.
final class OwnedFile: Sendable {
    let descriptor: OwnedDescriptor

    init(_ descriptor: consuming OwnedDescriptor) {
        self.descriptor = descriptor
    }
}
