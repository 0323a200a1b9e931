import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// An open file of another scheme. Closed when it is let go.
public final class RemoteFile: Sendable {
    private let client: SchemeClient
    let handle: UInt64

    init(_ client: SchemeClient, handle: UInt64) {
        self.client = client
        self.handle = handle
    }

    deinit {
        guard let node = try? client.node(handle) else { return }
        client.forget(handle)
        client.post(SubmissionEntry(.close, node: node, handle: handle))
    }

    /// What the server said when it was opened.
    public var opened: OpenedFlags { client.opened(handle) }

    /// Attributes; `size` is what a disk has.
    public func attributes() throws(Errno) -> NodeAttributes {
        let channel = client.channel
        let slot = try client.reserve(payloadBytes: 0, replyBytes: 0)
        let completion = try client.call(slot, SubmissionEntry(.fstat, node: try client.node(handle), handle: handle))
        defer { client.channel.release(completion) }
        if let code = completion.errno { throw Errno(rawValue: code) }
        // Copied before it is read: the server can still write there.
        var copy = InlineArray<14, UInt64>(repeating: 0)
        let reply = channel.reply(completion)
        guard reply.byteCount >= NodeAttributes.byteCount else { throw .ioError }
        for index in 0..<14 {
            copy[index] = unsafe reply.unsafeLoadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
        }
        let span = copy.span
        guard let attributes = NodeAttributes(decoding: unsafe span.bytes) else { throw .ioError }
        return attributes
    }

    /// Reads at an offset until the buffer is full or the file ends; returns the count.
    ///
    /// Transfers of more than 1 MiB are several requests, in flight at once.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(Errno) -> Int {
        let node = try client.node(handle)
        let channel = client.channel
        var done = 0
        while done < buffer.byteCount {
            var slots: [(slot: RequestSlot, count: Int)] = []
            var submitted = done
            while submitted < buffer.byteCount, slots.count < Self.depth {
                let count = min(buffer.byteCount - submitted, ProtocolLimits.maximumTransferBytes)
                let slot = try reserveAnother(payloadBytes: 0, replyBytes: count, isFirst: slots.isEmpty)
                guard let slot else { break }
                client.begin(
                    slot,
                    SubmissionEntry(
                        .read, node: node, handle: handle, offset: offset &+ UInt64(submitted), length: UInt32(count)))
                slots.append((slot, count))
                submitted += count
            }
            var failure: Errno?
            var isShort = false
            for (slot, count) in slots {
                let completion = client.finish(slot)
                let bytes = channel.reply(completion)
                if let code = completion.errno {
                    failure = failure ?? Errno(rawValue: code)
                } else if failure == nil, !isShort {
                    buffer.copyBytes(from: bytes, at: done)
                    done += bytes.byteCount
                    isShort = bytes.byteCount < count
                }
                client.channel.release(completion)
            }
            if let failure { throw failure }
            if isShort { return done }
        }
        return done
    }

    /// Writes all bytes at an offset.
    public func write(at offset: UInt64, _ bytes: RawSpan) throws(Errno) {
        let node = try client.node(handle)
        let channel = client.channel
        var done = 0
        while done < bytes.byteCount {
            var slots: [(slot: RequestSlot, count: Int)] = []
            while done < bytes.byteCount, slots.count < Self.depth {
                let count = min(bytes.byteCount - done, ProtocolLimits.maximumTransferBytes)
                guard let slot = try reserveAnother(payloadBytes: count, replyBytes: 0, isFirst: slots.isEmpty) else {
                    break
                }
                var payload = channel.payload(slot)
                payload.copyBytes(from: bytes.extracting(done..<(done + count)))
                begin(slot, node, offset &+ UInt64(done), count)
                slots.append((slot, count))
                done += count
            }
            try finishWrites(&slots)
        }
    }

    /// Writes slices one after another from an offset on, gathered into as few requests as possible, several in flight at once.
    ///
    /// - Parameter flags: of each request.
    public func write(at offset: UInt64, _ slices: [BufferSlice], flags: SubmissionFlags = []) throws(Errno) {
        try write([(offset, slices)], flags: flags)
    }

    /// The same for several ranges: the requests of all are in flight together, and a server that can takes many ranges in one.
    ///
    /// - Parameter flags: of each request; `afterFlush` only with ranges that `fitTogether`.
    public func write(
        _ extents: [(offset: UInt64, slices: [BufferSlice])], flags: SubmissionFlags = []
    ) throws(Errno) {
        let node = try client.node(handle)
        let channel = client.channel
        var slots: [(slot: RequestSlot, count: Int)] = []
        // After an error: what is in flight must be waited for all the same.
        defer { try? finishWrites(&slots) }
        for batch in WriteBatch.batches(extents, scatters: opened.contains(.scattersWrites)) {
            let room = batch.payloadByteCount
            if slots.count == Self.depth { try finishWrites(&slots) }
            var slot = try reserveAnother(payloadBytes: room, replyBytes: 0, isFirst: slots.isEmpty)
            if slot == nil {
                try finishWrites(&slots)
                slot = try reserveAnother(payloadBytes: room, replyBytes: 0, isFirst: true)
            }
            guard let slot else { throw .noBufferSpace }
            var payload = channel.payload(slot)
            batch.fill(&payload)
            client.begin(slot, batch.entry(node: node, handle: handle, flags), payload: 0..<room)
            slots.append((slot, batch.byteCount))
        }
        try finishWrites(&slots)
    }

    /// Whether so many ranges of so many bytes in all are one request.
    public func fitTogether(_ count: Int, byteCount: UInt64) -> Bool {
        opened.contains(.scattersWrites) && WriteBatch.fits(count, byteCount: byteCount)
    }

    /// Makes everything written before durable.
    public func synchronize() throws(Errno) {
        try simple(SubmissionEntry(.fsync, node: try client.node(handle), handle: handle))
    }

    /// Says that a range's contents aren't needed any more; it may read as zeros from then on.
    public func discard(at offset: UInt64, byteCount: UInt64) throws(Errno) {
        let punchHoleAndKeepSize: UInt32 = 3
        try simple(
            SubmissionEntry(.fallocate, node: try client.node(handle), handle: handle, offset: offset),
            RequestArguments(flags: punchHoleAndKeepSize, word0: byteCount))
    }

    /// Requests of one call that are in flight at once: enough to keep both sides busy.
    private static let depth = 8

    private func simple(
        _ entry: SubmissionEntry, _ arguments: RequestArguments = RequestArguments()
    ) throws(Errno) {
        let slot = try client.reserve(payloadBytes: 0, replyBytes: 0)
        let completion = try client.call(slot, entry, arguments)
        client.channel.release(completion)
        if let code = completion.errno { throw Errno(rawValue: code) }
    }

    /// The first slot of a batch is waited for; a further one is taken only if there is room, so that batches can't wait for each
    /// other's rooms.
    private func reserveAnother(payloadBytes: Int, replyBytes: Int, isFirst: Bool) throws(Errno) -> RequestSlot? {
        isFirst
            ? try client.reserve(payloadBytes: payloadBytes, replyBytes: replyBytes)
            : client.channel.reserve(payloadBytes: payloadBytes, replyBytes: replyBytes)
    }

    private func begin(_ slot: RequestSlot, _ node: UInt64, _ offset: UInt64, _ count: Int) {
        client.begin(
            slot, SubmissionEntry(.write, node: node, handle: handle, offset: offset), payload: 0..<count)
    }

    /// Waits for all, and empties the list, however they end.
    private func finishWrites(_ slots: inout [(slot: RequestSlot, count: Int)]) throws(Errno) {
        defer { slots.removeAll(keepingCapacity: true) }
        var failure: Errno?
        for (slot, count) in slots {
            let completion = client.finish(slot)
            if let code = completion.errno {
                failure = failure ?? Errno(rawValue: code)
            } else if completion.result != Int64(count) {
                failure = failure ?? .ioError
            }
            client.channel.release(completion)
        }
        if let failure { throw failure }
    }
}
