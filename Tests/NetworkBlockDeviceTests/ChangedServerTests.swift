import BlockDevice
import Glibc
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import NetworkBlockDevice

private let obstacle: Comment? = NBDServer.nbdkitObstacle.map { Comment(rawValue: $0) }

/// A server that comes back with other limits is taken whenever it takes what the disk sends, whatever others there were between.
@Suite struct ChangedServerTests {
    private static let size: UInt64 = 16 << 20

    private func export(
        _ byteCount: UInt64 = size, block: UInt64 = 512, maximum: UInt64 = 65536, abilities: NBDExport.Abilities = []
    ) throws -> NBDExport {
        try NBDExport(byteCount: byteCount, abilities: abilities, minimum: block, maximum: maximum)
    }

    /// What the second is for who opened the first, or what stands against it.
    private func standIn(
        _ opened: NBDExport, _ later: NBDExport, isWritten: Bool = true
    ) -> Result<NBDExport, BlockDeviceError> {
        Result { () throws(BlockDeviceError) in try later.standingIn(for: opened, isWritten: isWritten) }
    }

    @Test func whatKeepsToOurBlocksIsTaken() throws {
        let opened = try export()
        #expect(standIn(opened, opened) == .success(opened))
        // Smaller blocks, and a rest that is smaller than ours; the longest request isn't a multiple of ours.
        let finer = try export(Self.size + 100, block: 1, maximum: 70001, abilities: .flush)
        #expect(standIn(opened, finer) == .success(try export(maximum: 69632, abilities: .flush)))
        #expect(standIn(opened, try export(maximum: 512)) == .success(try export(maximum: 512)))
        // Who doesn't write doesn't mind whether that is possible.
        let readOnly = try export(abilities: .readOnly)
        #expect(standIn(opened, readOnly, isWritten: false) == .success(readOnly))
        #expect(standIn(readOnly, opened, isWritten: false) == .success(opened))
    }

    @Test func whatDiffersIsNamed() throws {
        func refusal(_ opened: NBDExport, _ later: NBDExport) -> String {
            switch standIn(opened, later) {
            case .success: "it is taken"
            case .failure(let error): "\(error)"
            }
        }
        let opened = try export()
        #expect(
            refusal(opened, try export(8 << 20))
                == "the server exports another disk now: of 8388608 bytes, not 16777216")
        #expect(
            refusal(opened, try export(block: 4096))
                == "the server exports the disk otherwise now: in blocks of 4096 bytes, not 512")
        #expect(
            refusal(opened, try export(abilities: .readOnly)) == "the server exports the disk otherwise now: read-only")
        // The size in larger blocks is rounded to those.
        let odd = try export(Self.size + 512)
        #expect(
            refusal(odd, try export(Self.size + 512, block: 4096))
                == "the server exports the disk otherwise now: in blocks of 4096 bytes, not 512")
        #expect(
            refusal(try export(block: 4096), try export(8 << 20, block: 1, maximum: 1000, abilities: .readOnly))
                == "the server exports another disk now: of 8388608 bytes, not 16777216, "
                + "at most 1000 bytes at once, which is less than a block of 4096, read-only")
    }

    private static func policy(_ image: String, _ minimum: Int, _ maximum: Int) -> [String] {
        [
            "--filter=blocksize-policy", "file", image, "blocksize-minimum=\(minimum)",
            "blocksize-preferred=\(max(512, minimum))", "blocksize-maximum=\(maximum)", "blocksize-error-policy=error",
        ]
    }

    /// 512, then 1, then 512: the blocks that the disk was opened with hold all the time, for a successor as well.
    @Test(.enabled(if: obstacle == nil, obstacle), arguments: [false, true])
    func largerBlocksComeBack(hasSuccessor: Bool) throws {
        let folder = try TemporaryDirectory()
        let image = folder.file("image")
        _ = try FileDevice(creating: image, byteCount: Self.size)
        let descriptor = try SharedMemory.create(name: "notes", byteCount: UnflushedWrites.byteCount)
        func notes() throws -> UnflushedWrites {
            UnflushedWrites(
                try SharedMapping(descriptor.rawValue, byteCount: UnflushedWrites.byteCount, writable: true))
        }
        var device: NBDDevice?
        var random = SplitMix(seed: 12)
        var written: [UInt8] = []
        for (minimum, maximum) in [(512, 65536), (1, 70001), (512, 65536), (1, 70001), (512, 1 << 20)] {
            let server = try NBDServer.nbdkit(socket: folder.file("s"), Self.policy(image, minimum, maximum))
            if hasSuccessor { device = nil }
            let current = try device ?? connect(server, notes: notes())
            device = current
            // What was noted for the last server is written again.
            if !written.isEmpty { #expect(try contents(current, 100, written.count) == written) }
            written = noise(300_000, &random)
            try write(current, 100, written)
            #expect(try contents(current, 100, written.count) == written)
            server.kill()
        }
    }

    @Test(.enabled(if: obstacle == nil, obstacle)) func blocksThatAreTooLargeAreTold() throws {
        let folder = try TemporaryDirectory()
        let image = folder.file("image")
        _ = try FileDevice(creating: image, byteCount: Self.size)
        let first = try NBDServer.nbdkit(socket: folder.file("s"), Self.policy(image, 512, 65536))
        let said = Locked<[String]>([])
        let device = try connect(first) { options in options.log = { line in said.withLock { $0.append(line) } } }
        first.kill()
        let second = try NBDServer.nbdkit(socket: folder.file("s"), Self.policy(image, 4096, 65536))
        let reader = try spawnThread(name: "reader") { _ = try? contents(device, 0, 512) }
        while !said.withLock({ $0.contains { $0.contains("in blocks of 4096 bytes, not 512") } }) { usleep(5000) }
        #expect(!device.figures.isConnected)
        second.kill()
        try first.start()
        reader.join()
        #expect(device.figures.isConnected)
    }
}
