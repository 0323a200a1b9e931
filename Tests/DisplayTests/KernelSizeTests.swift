import Glibc
import Platform
import SchemeKit
import Testing

@testable import DisplayScheme

/// The kernel trusts its own size of a file that it knows. The display scheme keeps:
/// - whenever that may be wrong, the next look-up and listing give another file, with the right size;
/// - who has the old one open goes on with the same contents;
/// - both also hold in the next incarnation.
struct KernelSizeTests {
    private static let truncating = OpenFlags.readWrite | OpenFlags.truncate
    private static let frameBytes = 64 * 48 * 4

    @Test func pixelsThatWereOpenedAsEmptyAreAnotherFile() throws {
        let harness = try DisplayHarness()
        let mapped = try harness.open("0/fb", handle: 1)
        let old = try harness.open("0/fb", handle: 2, flags: Self.truncating)
        #expect(old == mapped)
        let new = try harness.find("0/fb")
        #expect(new != old)
        #expect(try harness.list("0", "fb") == new)
        #expect(try harness.size(new) == UInt64(Self.frameBytes))
        // Nobody looks for it again: as often as the old one is opened there is no need for more.
        var context = harness.context()
        try harness.scheme.open(old, handle: 3, flags: Self.truncating, &context)
        #expect(try harness.find("0/fb") == new)
        let pixels = testPixels(64 * 48, seed: 21)
        try harness.write(old, bytes(pixels))
        #expect(try harness.read(new, Self.frameBytes) == bytes(pixels))
        try harness.restart(adopting: [(old, 1), (old, 2), (new, 4)])
        #expect(try harness.find("0/fb") == new)
        #expect(try harness.read(old, Self.frameBytes) == bytes(pixels))
        // The numbers that were given are good, others aren't.
        guard case .frame(0, let generation, let size)? = DisplayNode(new) else {
            Issue.record("no frame")
            return
        }
        let next = DisplayNode.frame(0, generation: generation + 9, size)
        #expect(throws: Errno.staleNFSFileHandle) { try harness.read(next.number, 4) }
    }

    /// A frame behind the other makes the file longer to the kernel; what it writes back from its pages doesn't.
    @Test func pixelsThatWereWrittenBeyondAreAnotherFile() throws {
        let harness = try DisplayHarness()
        let old = try harness.open("0/fb", handle: 1)
        let frame = [UInt8](repeating: 0x55, count: Self.frameBytes)
        try harness.write(old, frame)
        try harness.write(old, Array(frame[..<4]), at: UInt64(Self.frameBytes - 4))
        #expect(try harness.find("0/fb") == old)
        let writeBack = harness.context(isFromCache: true)
        try harness.write(old, Array(frame[..<8]), at: UInt64(Self.frameBytes - 4), writeBack)
        #expect(try harness.find("0/fb") == old)
        try harness.write(old, Array(frame[..<8]), at: UInt64(Self.frameBytes - 4))
        let new = try harness.find("0/fb")
        #expect(new != old)
        try harness.write(old, frame, at: UInt64(3 * Self.frameBytes))
        try harness.write(old, frame, at: .max - 20)
        #expect(try harness.find("0/fb") == new)
        // The size of before is of a file that the kernel knows wrongly, too.
        try harness.write("0/size", "32x16")
        try harness.write("0/size", "64x48")
        #expect(try harness.find("0/fb") == new)
    }

    /// What writes by an old number invalidates are all the numbers that are mapped.
    @Test func mappingsByEveryNumberAreToldOfChanges() throws {
        let harness = try DisplayHarness()
        let old = try harness.open("0/fb", handle: 1, flags: Self.truncating)
        let new = try harness.open("0/fb", handle: 2)
        for (node, handle) in [(old, UInt64(1)), (new, 2)] {
            _ = try harness.read(node, 4096, handle: handle, harness.context(isFromCache: true))
        }
        harness.scheme.core.withLock { core in
            core.staleFrames(0)
            #expect(core.staleNodes == [old, new])
            core.staleNodes = []
        }
        // With its last user an old number is no longer told.
        try harness.close(old, handle: 1)
        harness.scheme.core.withLock { core in
            core.staleFrames(0)
            #expect(core.staleNodes == [new])
        }
    }

    /// There are only so many generations: those that somebody has open don't come again meanwhile.
    @Test func openNumbersAreNotGivenAgain() throws {
        let harness = try DisplayHarness()
        let old = try harness.open("0/fb", handle: 1, flags: Self.truncating)
        harness.scheme.core.withLock { $0.state.generations &+= DisplayNode.frameMask - 1 }
        harness.scheme.core.withLock { $0.state.displays[0]?.frameGeneration = $0.state.generations }
        for handle in 2..<6 as Range<UInt64> {
            try harness.open("0/fb", handle: handle, flags: Self.truncating)
            #expect(try harness.find("0/fb") != old)
        }
        #expect(try harness.read(old, 4).count == 4)
    }

    @Test func windowsOfAnotherSizeAreAnotherFile() throws {
        let harness = try DisplayHarness()
        let window = try harness.open("window/l/1/1/8/4/w", handle: 1)
        let path = "windows/\(UInt32(truncatingIfNeeded: window))"
        let old = try harness.open(path, handle: 2)
        try harness.write(window, Array("S,8,4".utf8))
        #expect(try harness.find(path) == old)
        try harness.write(window, Array("S,16,8".utf8))
        let new = try harness.open(path, handle: 3)
        #expect(new != old)
        #expect(try harness.list("windows", String(path.dropFirst(8))) == new)
        #expect(try harness.size(new) == 16 * 8 * 4)
        let pixels = bytes(testPixels(16 * 8, seed: 22))
        try harness.write(old, pixels)
        #expect(try harness.read(new, 1024) == pixels)
        try harness.restart(adopting: [(window, 1), (old, 2), (new, 3)])
        #expect(try harness.find(path) == new)
        #expect(try harness.read(old, 1024) == pixels)
        // Opened as empty.
        #expect(try harness.open(path, handle: 4, flags: Self.truncating) == new)
        #expect(try harness.find(path) != new)
    }

    @Test func clipboardsThatTheKernelDidNotChangeAreAnotherFile() throws {
        let harness = try DisplayHarness()
        let first = try harness.open("0/clipboard", handle: 1)
        try harness.write(first, Array("a text".utf8))
        // The kernel knows of that.
        #expect(try harness.find("0/clipboard") == first)
        var viewer = SteppedViewer(harness)
        _ = try viewer.begin()
        _ = try viewer.say([6, 0, 0, 0, 0, 0, 0, 2, 0x6f, 0x6b])
        let second = try harness.find("0/clipboard")
        #expect(second != first)
        #expect(try harness.list("0", "clipboard") == second)
        #expect(try harness.size(second) == 2)
        #expect(try harness.read(first, 100) == Array("ok".utf8))
        try harness.restart(adopting: [(first, 1)])
        #expect(try harness.find("0/clipboard") == second)
        // By the first it grows, of which the kernel doesn't know with the second.
        try harness.write(first, Array("longer".utf8))
        #expect(try harness.find("0/clipboard") != second)
        #expect(try harness.text("0/clipboard") == "longer")
        // Nor does it of what a window's program writes.
        let window = try harness.open("window/l/1/1/8/4/w", handle: 5)
        let third = try harness.find("0/clipboard")
        let kind = Array("clipboard".utf8)
        let span = kind.span
        var context = harness.context()
        let own = try harness.scheme.duplicate(window, handle: 5, as: 6, kind: unsafe span.bytes, &context)
        #expect(own != third)
        try harness.write(own, Array("longest".utf8))
        #expect(try harness.find("0/clipboard") != third)
        #expect(try harness.text("0/clipboard") == "longest")
    }

    /// The state of an older server says nothing of numbers.
    @Test func anOlderStateIsRead() throws {
        let harness = try DisplayHarness()
        try harness.open("window/l/1/1/8/4/w", handle: 1)
        let state = harness.scheme.core.withLock { $0.state }
        #expect(DisplayState(decoding: state.encoded) == state)
        let older = try #require(DisplayState(decoding: Array(state.encoded.dropLast(12))))
        #expect(older.windows == state.windows)
        #expect(older.displays[0]?.frameGeneration == state.displays[0]?.generation)
        #expect(DisplayState(decoding: Array(state.encoded.dropLast(1))) == nil)
    }
}
