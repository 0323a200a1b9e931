import BlockDevice
import FileSystemCheck
import Glibc
import Platform
import Supervisor
import SystemPackage
import TestSupport
import Testing

/// An image that is mounted with an overlay is never written, and nothing that was acknowledged is lost with the disk's process.
@Suite(.serialized, .enabled(if: mountObstacle == nil, mountObstacle))
struct OverlayTests {
    @Test func baseStaysAsItWas() throws {
        var before: [UInt8] = []
        let system = try MountedSystem(byteCount: 64 << 20) { configuration in
            // Opened here, as the image is made by now: for reading alone.
            guard let source = configuration.mount?.source, let contents = try? bytes(source),
                let image = try? SystemCall.open(source, O_RDONLY),
                let overlay = try? SystemCall.open("\(source).overlay", O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
            else { return }
            before = contents
            configuration.schemes[0].descriptors = [
                ("image", SharedDescriptor(image)), ("overlay", SharedDescriptor(overlay)),
            ]
        }
        let workload = try system.work(killing: ["disk"], times: 15)
        workload.verify()
        #expect(workload.failures.withLock { $0 } == [])
        #expect(workload.rounds > 0)
        try system.end()
        #expect(!before.isEmpty)
        #expect(try bytes(system.image) == before)
        let base = try FileDevice(path: system.image, writable: false)
        let overlay = try OverlayFileDevice(
            over: base, in: try FileDevice(path: "\(system.image).overlay", writable: false),
            unflushed: UnflushedBlocks())
        #expect(overlay.changedBlockCount > 0)
        let report = try FileSystemCheck.check(overlay)
        #expect(report.findings.isEmpty, "\(report.findings)")
    }
}
