import Platform
import SchemeProtocol
import SchemeTransport

/// A client that has been taken over: a request memory with the right header and seals, whose maker writes anything into it at any
/// time.
public final class HostileClient {
    /// Sealed like an honest client's.
    public let requestDescriptor: SharedDescriptor
    /// What the server writes.
    public var replyDescriptor: SharedDescriptor { model.replyDescriptor }
    private let model: ChannelClient
    private let memory: SharedMapping
    private let layout = ChannelLayout(.small)

    /// Makes the memories of a channel of the geometry `small`.
    public init() throws {
        requestDescriptor = SharedDescriptor(
            try SharedMemory.create(name: "request", byteCount: layout.requestMemoryBytes))
        memory = try SharedMapping(requestDescriptor.rawValue, byteCount: layout.requestMemoryBytes, writable: true)
        try SharedMemory.addSeals(requestDescriptor.rawValue, [.futureWrite, .seal])
        model = try ChannelClient(.small, name: "model")
        let header = try SharedMapping(model.requestDescriptor.rawValue, byteCount: 4096, writable: false)
        memory.copyBytes(from: header.bytes(0, count: 4096), at: 0)
    }

    /// Writes something: noise, or requests that nearly make sense.
    public func spoil(_ generator: inout TestGenerator) {
        let record = layout.requestRecords + Int(generator.next() % 256) * ProtocolLimits.requestRecordBytes
        switch generator.next() % 8 {
        case 0: memory.store32(ChannelLayout.submissionTailOffset, UInt32(truncatingIfNeeded: generator.next()))
        case 1, 2, 3:
            let tail = memory.load32(ChannelLayout.submissionTailOffset)
            memory.store32(layout.submissionRing + 4 * Int(tail & 255), UInt32(generator.next() % 260))
            memory.store32Releasing(ChannelLayout.submissionTailOffset, tail &+ 1)
            memory.futexWake(ChannelLayout.submissionTailOffset)
        case 4:
            for word in 0..<16 { memory.store64(record + 8 * word, generator.next()) }
        case 5:
            memory.store64(record, generator.next() % 128)
            memory.store64(record + 8, generator.next() % 5)
            memory.store32(record + 32, UInt32(generator.next() % 70_000))
            memory.store32(record + 36, UInt32(generator.next() % (5 << 20)))
            memory.store32(record + 40, UInt32(generator.next() % 70_000))
            memory.store32(record + 44, UInt32(generator.next() % (5 << 20)))
        case 6: memory.store32(ChannelLayout.clientStateOffset, UInt32(truncatingIfNeeded: generator.next()))
        default:
            let offset = 4096 + Int(generator.next() % UInt64((layout.requestMemoryBytes - 4096) / 8)) * 8
            memory.store64(offset, generator.next())
        }
    }

    /// Gets a server out of its sleep: when it is to stop.
    public func wakeServer() {
        memory.store32(ChannelLayout.submissionTailOffset, memory.load32(ChannelLayout.submissionTailOffset) &+ 1)
        memory.futexWake(ChannelLayout.submissionTailOffset, count: 100)
    }
}
