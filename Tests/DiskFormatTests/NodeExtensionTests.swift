import DiskFormat
import Testing

/// The extension of a node: there when needed, gone when not, and never believed when the reference changed the node.
@Suite struct NodeExtensionTests {
    static func block(kind: NodeKind = .file) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let node = NodeHeader(
            kind: kind, permissions: 0o644, uid: 1, gid: 2, time: Timespec(seconds: 1_700_000_000, nanoseconds: 5))
        bytes.withMutableRawBytes { node.encode(into: &$0) }
        return bytes
    }

    static func time(_ seconds: Int64, _ nanoseconds: UInt32 = 0) -> Timespec {
        Timespec(seconds: seconds, nanoseconds: nanoseconds)
    }

    @Test func absentWhileNotNeeded() {
        var block = Self.block()
        #expect(NodeExtension.state(block.rawBytes) == .absent)
        #expect(NodeExtension.times(block.rawBytes).change == Self.time(1_700_000_000, 5))
        let same = NodeTimes(access: Self.time(3), modification: Self.time(4, 5), change: Self.time(4, 5))
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, same) }
        #expect(block[74..<128].allSatisfy { $0 == 0 })
        #expect(NodeExtension.times(block.rawBytes) == same)
        var other = same
        other.change = Self.time(9)
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, other) }
        #expect(NodeExtension.state(block.rawBytes) == .present)
        #expect(NodeExtension.times(block.rawBytes) == other)
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, same) }
        #expect(block[74..<128].allSatisfy { $0 == 0 })
    }

    @Test func timesBeforeTheEpoch() {
        var block = Self.block()
        let early = NodeTimes(
            access: Self.time(-1, 999_999_999), modification: Self.time(-2_208_988_800, 7), change: Self.time(100))
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, early) }
        #expect(NodeExtension.times(block.rawBytes) == early)
        // The reference sees the epoch.
        #expect(NodeBlock.storedTime(block.rawBytes, at: NodeBlock.Offset.modificationTime) == Self.time(0, 7))
        var earliest = early
        earliest.modification.seconds = .min
        earliest.change.seconds = .min
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, earliest) }
        #expect(NodeExtension.times(block.rawBytes).modification.seconds == NodeExtension.earliestSeconds)
        #expect(NodeExtension.times(block.rawBytes).change.seconds == .min)
    }

    @Test func staleWhenTheReferenceWrote() {
        var block = Self.block(kind: .characterDevice)
        let pointer = BlockPointer(address: BlockAddress(number: 999, level: 1), hash: 42)
        var mine = NodeExtension(block.rawBytes)
        mine.device = 0x0103
        mine.attributes = pointer
        mine.times = NodeTimes(access: Self.time(-3), modification: Self.time(-4), change: Self.time(50))
        block.withMutableRawBytes { mine.encode(into: &$0) }
        #expect(NodeExtension(block.rawBytes) == mine)
        // The content was changed: the change time is the new mtime; what belongs to the node stays.
        block.withMutableRawBytes {
            NodeBlock.setStoredTime(&$0, at: NodeBlock.Offset.modificationTime, Self.time(60, 1))
        }
        #expect(NodeExtension.times(block.rawBytes).change == Self.time(60, 1))
        #expect(NodeExtension.times(block.rawBytes).modification == Self.time(60, 1))
        #expect(NodeExtension.times(block.rawBytes).access == Self.time(-3))
        #expect(NodeExtension.device(block.rawBytes) == 0x0103)
        #expect(NodeExtension.attributes(block.rawBytes) == pointer)
        // Storing times renews the stamp and keeps the rest.
        let times = NodeTimes(access: Self.time(1), modification: Self.time(2), change: Self.time(3))
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, times) }
        #expect(NodeExtension(block.rawBytes).device == 0x0103)
        #expect(NodeExtension.attributes(block.rawBytes) == pointer)
        #expect(NodeExtension.times(block.rawBytes) == times)
        // Another node took the number and the padding was left: nothing of it counts.
        block.withMutableRawBytes { NodeBlock.setStoredTime(&$0, at: NodeBlock.Offset.creationTime, Self.time(61)) }
        #expect(NodeExtension.state(block.rawBytes) == .foreign)
        #expect(NodeExtension.device(block.rawBytes) == 0)
        #expect(NodeExtension.attributes(block.rawBytes).isNull)
        #expect(NodeExtension.times(block.rawBytes).change == Self.time(2))
    }

    @Test func unknownVersions() {
        var block = Self.block()
        let times = NodeTimes(access: Self.time(1), modification: Self.time(2), change: Self.time(3))
        block.withMutableRawBytes { NodeExtension.setTimes(&$0, times) }
        block[NodeExtension.Offset.version] = 2
        #expect(NodeExtension.state(block.rawBytes) == .unknown)
        #expect(NodeExtension.times(block.rawBytes).change == Self.time(2))
        block[NodeExtension.Offset.version] = 1
        block[NodeExtension.Offset.flags] = 0x80
        #expect(NodeExtension.state(block.rawBytes) == .unknown)
    }
}
