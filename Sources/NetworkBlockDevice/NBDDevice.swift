import BlockDevice
import Platform
import SystemPackage

/// How a server is used.
public struct NBDOptions: Sendable {
    /// How long callers wait for a server that is away before they get EIO, in nanoseconds.
    public var patience: UInt64 = 60_000_000_000
    /// How long one answer may take before the connection counts as broken, in nanoseconds.
    public var answerLimit: UInt64 = 30_000_000_000
    /// How long making a connection may take, in nanoseconds.
    public var connectionLimit: UInt64 = 5_000_000_000
    /// Connections, if the server allows several.
    public var connections = 4
    /// Whether to write, if the server lets us.
    public var isWritable = true
    /// Told what becomes of the connections.
    public var log: @Sendable (String) -> Void = { _ in }

    /// The defaults.
    public init() {}
}

/// A disk that a server exports by the NBD protocol.
///
/// The server may die and come back: callers wait meanwhile, and what it may have lost is written again before anything new. What
/// was acknowledged and isn't durable at the server lies in `UnflushedWrites`; in memory that outlives the process it survives
/// this one's death, too.
public final class NBDDevice: BlockDevice {
    private let core: NBDCore
    /// The size in bytes.
    public let byteCount: UInt64
    /// Whether it may be written.
    public let isWritable: Bool
    /// Everything sent begins and ends at multiples of this.
    private let block: UInt64
    /// Who writes parts of a block, read before, is alone: nobody else writes there meanwhile.
    private let changes = SharingLock()

    /// Connects, or goes on where a predecessor was: then it doesn't wait for the server.
    ///
    /// - Parameters:
    ///   - export: the export's name.
    ///   - unflushed: what a predecessor wrote; without, what the server loses with this process is lost.
    ///   - inherited: a predecessor's sockets. Nothing is sent before the server has ended them.
    public init(
        _ dialer: any NBDDialer, export: String, unflushed: UnflushedWrites, options: NBDOptions = NBDOptions(),
        inherited: [SharedDescriptor] = []
    ) throws(NBDError) {
        core = try NBDCore(dialer, export: export, unflushed, options, inherited: inherited)
        byteCount = core.opened.byteCount
        block = core.opened.minimumBlock
        isWritable = core.isWritable
    }

    deinit { core.end() }

    /// What the server can do now, in the size and blocks that the disk was opened with.
    public var export: NBDExport { core.state.withLock { $0.export } }

    /// Figures for who looks after it.
    public struct Figures: Sendable {
        /// Whether there is a connection.
        public let isConnected: Bool
        /// Connections in use now.
        public let connections: Int
        /// How often the connections were made anew.
        public let reconnections: UInt64
        /// Writes that were made again after that.
        public let repeatedWrites: UInt64
        /// Bytes that the server may lose, with what it takes to note them.
        public let unflushedBytes: UInt64
        /// Why there is no connection, as the last attempt found.
        public let obstacle: String?
    }

    /// How it stands at the moment.
    public var figures: Figures {
        core.state.withLock { state in
            Figures(
                isConnected: state.phase == .up, connections: state.all.count,
                reconnections: state.reconnections, repeatedWrites: state.repetitions,
                unflushedBytes: core.notes.tail &- core.notes.head,
                obstacle: state.obstacle)
        }
    }

    // MARK: Reading

    /// Fills the buffer.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        let length = UInt64(buffer.byteCount)
        try checkRange(offset, length, .read)
        guard length > 0 else { return }
        do throws(Errno) {
            let deadline = core.deadline
            guard !isAligned(offset, length) else {
                return try readWhole(at: offset, into: &buffer, deadline: deadline)
            }
            let (start, whole) = try wholeBlocks(around: offset, length, deadline: deadline)
            let first = Int(offset - start)
            buffer.copyBytes(from: whole.bytes(first..<(first + buffer.byteCount)))
        } catch {
            throw .io(error, offset: offset, length: Int(length), operation: .read)
        }
    }

    private func isAligned(_ offset: UInt64, _ length: UInt64) -> Bool { (offset | length) & (block - 1) == 0 }

    /// The blocks that a range touches, and where they start.
    private func wholeBlocks(
        around offset: UInt64, _ length: UInt64, deadline: UInt64
    ) throws(Errno) -> (start: UInt64, contents: AlignedBuffer) {
        let start = offset & ~(block - 1)
        let end = (offset + length + block - 1) & ~(block - 1)
        let contents = AlignedBuffer(byteCount: Int(end - start))
        var bytes = contents.mutableBytes
        try readWhole(at: start, into: &bytes, deadline: deadline)
        return (start, contents)
    }

    private func readWhole(
        at offset: UInt64, into buffer: inout MutableRawSpan, deadline: UInt64
    ) throws(Errno) {
        var done = 0
        while done < buffer.byteCount {
            // Only a note can have been repeated.
            guard let lease = try core.take(deadline: deadline) else { throw .ioError }
            let count = min(buffer.byteCount - done, Int(lease.export.maximumBlock))
            var part = buffer._mutatingExtracting(done..<(done + count))
            do throws(NBDFailure) {
                try lease.connection.read(at: offset + UInt64(done), into: &part)
                core.give(lease)
                done += count
            } catch {
                try core.give(lease, error)
            }
        }
    }

    // MARK: Writing

    /// Writes the buffers one after another.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        let length = try checkedLength(at: offset, buffers)
        guard length > 0 else { return }
        do throws(Errno) {
            let deadline = core.deadline
            let isPartial = !isAligned(offset, length)
            try changes.enter(alone: isPartial, deadline: deadline)
            defer { changes.leave(alone: isPartial) }
            guard isPartial else { return try writeWhole(at: offset, buffers, length, deadline: deadline) }
            let (start, whole) = try wholeBlocks(around: offset, length, deadline: deadline)
            var target = Int(offset - start)
            for buffer in buffers {
                whole.copyBytes(from: buffer.bytes, at: target)
                target += buffer.byteCount
            }
            try writeWhole(at: start, [BufferSlice(whole)], UInt64(whole.byteCount), deadline: deadline)
        } catch {
            throw .io(error, offset: offset, length: Int(clamping: length), operation: .write)
        }
    }

    private func writeWhole(
        at offset: UInt64, _ buffers: [BufferSlice], _ length: UInt64, deadline: UInt64
    ) throws(Errno) {
        var queue = BufferQueue(buffers)
        var done: UInt64 = 0
        while done < length {
            let limit = min(core.state.withLock { $0.export.maximumBlock }, UInt64(UnflushedWrites.longestData))
            let count = min(length - done, limit)
            try perform(
                try core.note(
                    .write, at: offset + done, byteCount: count, queue.take(Int(count)), deadline: deadline),
                deadline: deadline)
            done += count
        }
    }

    /// Sends what is noted until the server has it.
    private func perform(_ note: UnflushedWrites.Record, deadline: UInt64) throws(Errno) {
        do throws(Errno) {
            while let lease = try core.take(for: note, deadline: deadline) {
                do throws(NBDFailure) {
                    try core.send(note, on: lease.connection, lease.export)
                    core.give(lease)
                    break
                } catch {
                    try core.give(lease, error)
                }
            }
            core.settle(note, hasFailed: false)
        } catch {
            core.settle(note, hasFailed: true)
            throw error
        }
    }

    /// Makes a range zero, by the server itself if it can.
    public func writeZeros(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .write)
        let isOurs = core.state.withLock { $0.export.abilities.contains(.zero) } && isAligned(offset, length)
        guard isOurs else { return try writeZeroBuffers(at: offset, byteCount: length) }
        do throws(Errno) {
            var done: UInt64 = 0
            while done < length {
                let count = min(length - done, Self.longestZeros)
                // Each of much is a call of its own.
                let deadline = core.deadline
                try changes.enter(alone: false, deadline: deadline)
                defer { changes.leave(alone: false) }
                try perform(
                    try core.note(.zero, at: offset + done, byteCount: count, [], deadline: deadline),
                    deadline: deadline)
                done += count
            }
        } catch {
            throw .io(error, offset: offset, length: Int(clamping: length), operation: .write)
        }
    }

    /// The protocol has 32 bits for a length, and a server may take long for much.
    private static let longestZeros: UInt64 = 128 << 20

    /// Returns when everything written before is durable at the server.
    public func flush() throws(BlockDeviceError) {
        guard isWritable else { return }
        do throws(Errno) {
            try core.flush(deadline: core.deadline)
        } catch { throw .io(error, offset: 0, length: 0, operation: .flush) }
    }

    /// Gives up a range: it reads as zeros then, and the server may free what it occupies. `.unsupported` if the server can't
    /// make a range zero by itself.
    public func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .discard)
        guard core.state.withLock({ $0.export.abilities.contains(.zero) }) else { throw .unsupported(.discard) }
        // What the server trims may read as anything; zeros without the wish that they occupy something are holes where it can.
        let start = min((offset + block - 1) & ~(block - 1), offset + length)
        let end = max((offset + length) & ~(block - 1), start)
        try writeZeros(at: offset, byteCount: start - offset)
        try writeZeros(at: start, byteCount: end - start)
        try writeZeros(at: end, byteCount: offset + length - end)
    }
}
