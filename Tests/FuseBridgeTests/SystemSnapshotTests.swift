import Platform
import Testing

@testable import FuseBridge

/// Files of `sys` change all the time: who reads one in pieces gets the pieces of one text.
@Suite struct SystemSnapshotTests {
    @Test func piecesBelongTogether() {
        let snapshots = SystemSnapshots(incarnation: 3)
        var count = 0
        func read(_ handle: UInt64, at offset: UInt64) -> [UInt8]? {
            snapshots.text(handle, at: offset) {
                count += 1
                return "text \(count)"
            }
        }
        let (one, other) = (snapshots.open(), snapshots.open())
        #expect(one != other && one >> 32 == 3)
        #expect(read(one, at: 0) == Array("text 1".utf8))
        #expect(read(other, at: 0) == Array("text 2".utf8))
        #expect(read(one, at: 4) == Array("text 1".utf8))
        #expect(read(other, at: 4) == Array("text 2".utf8))
        // From the start it is looked at again.
        #expect(read(one, at: 0) == Array("text 3".utf8))
        #expect(read(one, at: 6) == Array("text 3".utf8))
        // Opened by a router that is dead.
        let strange: UInt64 = 2 << 32 | 1
        #expect(read(strange, at: 4) == Array("text 4".utf8))
        #expect(read(strange, at: 6) == Array("text 4".utf8))
        for handle in [one, other, strange] { snapshots.close(handle) }
        #expect(snapshots.count == 0)
        #expect(snapshots.text(one, at: 0) { nil } == nil)
    }
}
