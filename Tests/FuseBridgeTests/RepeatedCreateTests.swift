import BlockDevice
import DiskFormat
import Glibc
import Platform
import RedoxFS
import Router
import SchemeProtocol
import SchemeTransport
import SystemPackage
import Testing

@testable import FileScheme
@testable import FuseBridge

/// A file that is there is opened by `create` and emptied. When that is repeated, its number must not be reached before the file is
/// empty: a commit in between would say that it contains the change.
@Suite struct RepeatedCreateTests {
    /// Beyond what a node's own pointers reach: to empty the file its lists have to be read.
    private static let listedOffset: UInt64 = 1 << 30

    @Test func numberIsReachedWhenTheFileIsEmpty() throws {
        let watch = Watch()
        let system = try LocalSystem { WatchedDevice($0, watch) }
        let name = Array("file".utf8)
        var unique: UInt64 = 100
        func request() -> FuseRequest {
            unique += 2
            return FuseRequest(unique: unique, time: WireTime(seconds: 1_700_000_001, nanoseconds: 0))
        }
        func create() throws -> (NodeAttributes, FuseOpenedFile) {
            let span = name.span
            let result = try system.backend.create(
                request(), parent: NodeNumbers.root, name: unsafe span.bytes, mode: 0o644,
                flags: UInt32(O_RDWR | O_CREAT | O_TRUNC))
            system.backend.didReply(request())
            return result
        }
        let (file, opened) = try create()
        let node = try #require(UInt32(exactly: file.node & 0xffff_ffff))
        var buffer: FuseReceiveBuffer?
        let bytes: [UInt8] = [1, 2, 3]
        let count = try unsafe bytes.withUnsafeBytes { bytes in
            try unsafe system.backend.write(
                request(), node: file.node, handle: opened.handle, at: Self.listedOffset, bytes, in: &buffer, flags: 0,
                isCacheWrite: false, clearsPrivileges: false)
        }
        #expect(count == 3)
        system.backend.didReply(request())
        try system.backend.synchronize(request(), node: file.node, handle: opened.handle, dataOnly: false)
        system.backend.didReply(request())
        system.backend.release(request(), node: file.node, handle: opened.handle, flags: 0)
        system.backend.didReply(request())
        let (emptied, _) = try create()
        #expect(emptied.node == file.node && emptied.size == 0)
        let number = system.scheme.fileSystem.statistics().sequence
        let current = system.current
        watch.begin { current.withLock { $0 }?.fileSystem.statistics().sequence }
        let report = try #require(try system.restartServer())
        let seen = watch.end()
        #expect(report.mismatches.isEmpty)
        #expect(report.replayed > 0)
        #expect(try system.scheme.fileSystem.attributes(NodeID(node)).size == 0)
        #expect(system.scheme.fileSystem.statistics().sequence >= number)
        // What the repetition read, it read before.
        #expect(!seen.isEmpty)
        #expect(seen.allSatisfy { $0 < number }, "\(seen), \(number)")
        try system.end()
    }
}

/// Asks something at every read.
private final class Watch: Sendable {
    private struct State {
        var ask: (@Sendable () -> UInt64?)?
        var answers: [UInt64] = []
    }

    private let state = Locked(State())

    func begin(_ ask: @escaping @Sendable () -> UInt64?) { state.withLock { $0.ask = ask } }

    func end() -> [UInt64] {
        state.withLock { state in
            state.ask = nil
            return state.answers
        }
    }

    func look() {
        guard let answer = state.withLock({ $0.ask })?() else { return }
        state.withLock { $0.answers.append(answer) }
    }
}

private final class WatchedDevice: BlockDevice {
    private let base: any BlockDevice
    private let watch: Watch

    init(_ base: any BlockDevice, _ watch: Watch) {
        self.base = base
        self.watch = watch
    }

    var byteCount: UInt64 { base.byteCount }
    var isWritable: Bool { base.isWritable }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        watch.look()
        try base.read(at: offset, into: &buffer)
    }

    func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try base.write(at: offset, buffers)
    }

    func flush() throws(BlockDeviceError) { try base.flush() }
}
