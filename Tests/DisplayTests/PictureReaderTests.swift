import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// The pictures of `screen.png`: each reader has its own from beginning to end.
struct PictureReaderTests {
    private func read(_ harness: DisplayHarness, _ count: Int, at offset: Int, _ handle: UInt64) throws -> [UInt8] {
        try harness.read(try harness.find("0/screen.png"), count, at: UInt64(offset), handle: handle)
    }

    @Test func readersKeepTheirPicture() throws {
        let harness = try DisplayHarness()
        try harness.write(try harness.find("0/fb"), bytes(testPixels(64 * 48, seed: 30)))
        let all = DisplayMemory.snapshotCount
        let begins = try (0..<all).map { try read(harness, 100, at: 0, UInt64($0)) }
        #expect(throws: Errno.resourceBusy) { try read(harness, 100, at: 0, 50) }
        try harness.write(try harness.find("0/fb"), bytes(testPixels(64 * 48, seed: 31)))
        for handle in 0..<all {
            let rest = try read(harness, 1 << 20, at: 100, UInt64(handle))
            #expect(try decodePNG(begins[handle] + rest).width == 64)
        }
        // They may begin anew; a newcomer has to wait until one was at the end.
        #expect(try read(harness, 100, at: 0, 0).count == 100)
        #expect(throws: Errno.resourceBusy) { try read(harness, 100, at: 0, 50) }
        #expect(try read(harness, 100, at: 1 << 20, 3) == [])
        let taken = harness.scheme.core.withLock { core in core.state.snapshots.first { $0.key.handle == 3 }?.place }
        let place = try #require(taken)
        #expect(try read(harness, 100, at: 0, 50).count == 100)
        #expect(harness.scheme.core.withLock { $0.state.snapshots.last?.place } == place)
        #expect(try read(harness, 100, at: 100, 2).count == 100)
        // The place of who closes is free, too, and pictures survive.
        let node = try harness.open("0/screen.png", handle: 2)
        try harness.restart(adopting: (0..<8 as Range<UInt64>).map { (node, $0 == 3 ? 50 : $0) })
        #expect(throws: Errno.resourceBusy) { try read(harness, 100, at: 0, 51) }
        try harness.close(node, handle: 2)
        #expect(try read(harness, 100, at: 0, 51).count == 100)
    }

    /// What isn't read any more costs nothing.
    @Test func replacedPicturesAreGivenBack() throws {
        let harness = try DisplayHarness()
        try harness.write(try harness.find("0/fb"), bytes(testPixels(64 * 48, seed: 32)))
        _ = try read(harness, 100, at: 0, 1)
        let large = try #require(harness.scheme.core.withLock { $0.state.snapshots.first })
        try harness.write(try harness.find("0/fb"), [UInt8](repeating: 0, count: 64 * 48 * 4))
        _ = try read(harness, 100, at: 0, 1)
        let (small, rest) = harness.scheme.core.withLock { core in
            (core.state.snapshots.first, core.memory.snapshot(Int(large.place), (large.count - 64)..<large.count))
        }
        let count = try #require(small?.count)
        #expect(count < large.count - 64)
        #expect(rest.allSatisfy { $0 == 0 })
    }
}
