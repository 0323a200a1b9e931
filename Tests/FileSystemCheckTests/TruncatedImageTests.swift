import BlockDevice
import DiskFormat
import FileSystemCheck
import Platform
import TestSupport
import Testing

/// Images that were cut off: what the file system is short of is said, and a repair keeps all that can be reached.
@Suite struct TruncatedImages {
    private static let lengths: [Int] = [
        1_060_000, 1_100_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000, 6_500_000, 7_000_000,
        8_000_000,
        12_000_000, 16_000_000, 16_773_120,
    ]
    private static let time = Timespec(seconds: 1_800_000_000)

    @Test(arguments: [GoldenImage.smallTree, .churn, .sparse, .reserved, .unclean], lengths)
    func whatCanBeReachedIsKept(_ image: GoldenImage, _ length: Int) throws {
        let bytes = try image.bytes()
        // The ring and one block behind it have to be there.
        guard length < bytes.count, length >= (Int(try image.manifest().header.block) + 258) * 4096 else { return }
        let device = OverlayDevice(over: MemoryDevice(contents: Array(bytes.prefix(length)), isWritable: false))
        let found = try FileSystemCheck.check(device)
        let size = try #require(found.findings.first { $0.rule == .headerSizeWrong })
        #expect(size.detail.contains("\(length) of \(bytes.count) bytes"))
        #expect(size.detail.contains("truncate -s \(bytes.count) "))

        var nodes: [Generation: UInt64] = [:]
        let history = try FileSystemCheck.history(device)
        for summary in history {
            let options = CheckOptions(generation: summary.generation, searchesWholeGeneration: false)
            let report = try FileSystemCheck.check(device, options)
            nodes[summary.generation] = report.nodes - UInt64(report.releasedNodes.count)
        }
        let whole = history.first { $0.hasWholeMetadata }?.generation
        #expect((found.hasLostMetadata ? found.wholeGeneration : found.generation) == whole)
        let most = nodes.values.max() ?? 0
        var result = repair(device)
        if case .failure(.tooShort(_, UInt64(bytes.count))) = result {
            // Nothing is free in front of the end.
            #expect(device.changedPageCount == 0)
            try device.resize(to: UInt64(bytes.count))
            result = repair(device)
        }
        switch result {
        case .failure(.nothingReadable(_, let reason)):
            #expect(most == 0 && reason.contains("truncate -s"))
            #expect(device.changedPageCount == 0)
        case .failure(let error):
            Issue.record(error)
        case .success(let report):
            #expect(report.after.isClean)
            let again = try FileSystemCheck.check(device, CheckOptions(verifyData: true))
            #expect(again.isClean && again.generation == report.generation)
            if let whole {
                #expect(report.source == whole && report.after.nodes == nodes[whole])
            } else {
                #expect(report.after.nodes >= most)
            }
        }
    }

    private func repair(_ device: any BlockDevice) -> Result<RepairReport, CheckError> {
        do throws(CheckError) {
            return .success(try FileSystemCheck.repair(device, CheckOptions(), RepairOptions(time: Self.time)))
        } catch {
            return .failure(error)
        }
    }

    /// The missing part of an image that ends in free space comes back as zeros: nothing is lost.
    @Test func longAgainNothingIsLost() throws {
        let bytes = try GoldenImage.smallTree.bytes()
        let device = MemoryDevice(contents: Array(bytes.prefix(12_000_000)), isWritable: true)
        let found = try FileSystemCheck.check(device)
        #expect(found.counts[.headerSizeWrong] == 1 && !found.hasLostMetadata)
        try device.resize(to: UInt64(bytes.count))
        #expect(try FileSystemCheck.check(device, CheckOptions(verifyData: true)).isClean)
    }
}
