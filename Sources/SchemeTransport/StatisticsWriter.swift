import Platform
import SchemeProtocol

/// Counts requests in the statistics part of a channel's memory. One thread at a time: its owner's lock guards it.
struct StatisticsWriter {
    private let memory: SharedMapping

    init(_ memory: SharedMapping) { self.memory = memory }

    func count(_ opcode: Opcode, errored: Bool, bytesIn: Int, bytesOut: Int, _ nanoseconds: UInt64) {
        let base = ChannelLayout.statisticsOffset + Int(opcode.rawValue) * OperationStatistics.byteCount
        memory.add64(base, 1)
        if errored { memory.add64(base + 8, 1) }
        memory.add64(base + 16, UInt64(truncatingIfNeeded: bytesIn))
        memory.add64(base + 24, UInt64(truncatingIfNeeded: bytesOut))
        memory.add64(base + 32, nanoseconds)
        if nanoseconds > memory.load64(base + 40) { memory.store64(base + 40, nanoseconds) }
        let bucket = min(63 - max(nanoseconds, 1).leadingZeroBitCount, OperationStatistics.bucketCount - 1)
        let place = base + 48 + 4 * bucket
        memory.store32(place, memory.load32(place) &+ 1)
    }
}

/// What a channel's memories say about its traffic: readable by whoever holds the descriptors. The numbers are the
/// writers' claims.
public struct ChannelStatistics: Sendable {
    /// The client's times (from submission to completion), by opcode.
    public let client: [Opcode: OperationStatistics]
    /// The server's times (from taking to answer), by opcode.
    public let server: [Opcode: OperationStatistics]

    /// Reads the statistics; opcodes without a request are left out.
    init(request: SharedMapping, reply: SharedMapping) {
        func read(_ memory: SharedMapping) -> [Opcode: OperationStatistics] {
            var result: [Opcode: OperationStatistics] = [:]
            for opcode in Opcode.allCases {
                let base = ChannelLayout.statisticsOffset + Int(opcode.rawValue) * OperationStatistics.byteCount
                guard memory.load64(base) != 0 else { continue }
                let words = CopiedWords<24>(memory, base)
                result[opcode] = OperationStatistics(decoding: words.bytes)
            }
            return result
        }
        client = read(request)
        server = read(reply)
    }
}
