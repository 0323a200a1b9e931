import Platform
import SchemeKit
import SchemeProtocol
import SchemeTransport

/// A server that has been taken over: it fills every byte of the reply memory that a client looks at with noise, and now and then
/// writes something that nearly makes sense. Never ends by itself.
enum HostileServer {
    static func run(_ start: SchemeStart) throws -> Never {
        let reply = try start.requiredDescriptor("reply")
        let geometry = ChannelGeometry.small
        let layout = ChannelLayout(geometry)
        let memory = try SharedMapping(reply.rawValue, byteCount: layout.replyMemoryBytes, writable: true)
        var generator = Noise(UInt64(start.setting("seed") ?? "1") ?? 1)
        start.host.log("hostile")
        while true { spoil(memory, layout, &generator) }
    }

    static func spoil(_ memory: SharedMapping, _ layout: ChannelLayout, _ generator: inout Noise) {
        let kind = generator.next() % 8
        switch kind {
        case 0: memory.store32(ChannelLayout.completionTailOffset, UInt32(truncatingIfNeeded: generator.next()))
        case 1:
            let tail = memory.load32(ChannelLayout.completionTailOffset)
            memory.store32Releasing(
                ChannelLayout.completionTailOffset,
                tail &+ UInt32(generator.next() % UInt64(layout.geometry.recordCount)))
        case 2:
            let place = Int(generator.next() % UInt64(layout.geometry.recordCount))
            memory.store32(layout.completionRing + 4 * place, UInt32(truncatingIfNeeded: generator.next() % 300))
        case 3:
            let tag = generator.next() % UInt64(layout.geometry.recordCount)
            let base = layout.replyRecords + Int(tag) * ProtocolLimits.replyRecordBytes
            for word in 0..<8 { memory.store64(base + 8 * word, generator.next()) }
            memory.store32(base, UInt32(tag))
            memory.store32(base + 4, UInt32(generator.next() % 64))
            if generator.next() % 2 == 0 { memory.store64(base + 8, generator.next() % 4096) }
        case 4: memory.store32(ChannelLayout.eventTailOffset, UInt32(truncatingIfNeeded: generator.next()))
        case 5: memory.store32(ChannelLayout.serverStateOffset, UInt32(truncatingIfNeeded: generator.next()))
        case 6: memory.store64(ChannelLayout.committedSequenceOffset, generator.next())
        default:
            let offset = Int(generator.next() % UInt64(layout.replyArea / 8)) * 8
            memory.store64(offset, generator.next())
        }
        if generator.next() % 16 == 0 { memory.futexWake(ChannelLayout.completionTailOffset, count: 100) }
    }
}

/// SplitMix64.
struct Noise {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
