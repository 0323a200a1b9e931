import BlockDevice
import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@Suite struct GoldenImages {
    static func options(_ image: GoldenImage, verifyData: Bool = false) -> CheckOptions {
        CheckOptions(password: image.password, verifyData: verifyData)
    }

    @Test(arguments: GoldenImage.allCases)
    func figuresAreThoseOfTheManifest(_ image: GoldenImage) throws {
        let manifest = try image.manifest()
        let report = try FileSystemCheck.check(Surgeon.original(image), Self.options(image, verifyData: true))
        #expect(report.generation.rawValue == manifest.header.generation)
        #expect(report.used == manifest.check.usedBlocks)
        #expect(report.free == manifest.check.freeBlocks)
        // The manifest counts block 256, which nothing ever uses.
        #expect(report.leaked == manifest.check.leakedBlocks - 1)
        #expect(report.usedAndFree == manifest.check.usedAndFree)
        #expect(report.used + report.free + report.leaked + 257 == report.blockCount)
        #expect(report.nodes == UInt64(manifest.header.nodes))
        #expect(report.logBlocks == UInt64(manifest.header.allocLogBlocks))
        #expect(report.logEntries == UInt64(manifest.header.allocLogEntries))
        #expect(report.releasedNodes.sorted() == manifest.header.releaseNodes.sorted())
        // All files of these two are empty or inline.
        #expect(report.verifiedBytes > 0 || image == .empty || image == .bigDirectory)
    }

    @Test(arguments: GoldenImage.allCases)
    func onlyKnownHabitsAreFound(_ image: GoldenImage) throws {
        let report = try FileSystemCheck.check(Surgeon.original(image), Self.options(image, verifyData: true))
        #expect(report.isConsistent)
        let habits: Set<Rule>
        switch image {
        case .churn, .full: habits = [.blockLeaked]
        case .truncateResidue: habits = [.blockLeaked, .recordsBeyondEnd]
        case .unclean: habits = [.blockLeaked, .recordsBeyondEnd, .nodeBlocksTooHigh, .releasedNodeLinks]
        default: habits = []
        }
        #expect(Set(report.counts.keys) == habits)
    }

    @Test(arguments: GoldenImage.allCases)
    func repairLeavesNothingToFind(_ image: GoldenImage) throws {
        let device = OverlayDevice(over: try Surgeon.original(image))
        let report = try FileSystemCheck.repair(
            device, Self.options(image), RepairOptions(time: Timespec(seconds: 1_800_000_000)))
        #expect(report.after.isClean)
        #expect(report.isComplete)
        #expect(report.losses.isEmpty && report.attached.isEmpty)
        #expect(report.after.leaked == 0)
        if report.before.isClean {
            #expect(report.generation == nil)
            #expect(device.changedPageCount == 0)
        } else {
            #expect(report.generation == report.before.generation.next)
            let again = try FileSystemCheck.check(device, Self.options(image, verifyData: true))
            #expect(again.isClean)
        }
    }

    @Test func readOnlyDeviceIsNotRepaired() throws {
        let device = try Surgeon.original(.churn)
        #expect(throws: CheckError.self) {
            try FileSystemCheck.repair(device, CheckOptions(), RepairOptions(time: Timespec()))
        }
    }

    @Test func encryptedImageNeedsItsPassword() throws {
        let device = try Surgeon.original(.encrypted)
        #expect { try FileSystemCheck.check(device) } throws: { error in
            if case .passwordRequired? = error as? CheckError { true } else { false }
        }
        #expect { try FileSystemCheck.check(device, CheckOptions(password: Array("wrong".utf8))) } throws: { error in
            if case .passwordWrong? = error as? CheckError { true } else { false }
        }
    }

    @Test func emptyDeviceHasNoFileSystem() {
        #expect { try FileSystemCheck.check(MemoryDevice(byteCount: 4 << 20)) } throws: { error in
            if case .noFileSystem? = error as? CheckError { true } else { false }
        }
    }

    @Test func missingGenerationIsNamed() throws {
        let device = try Surgeon.original(.smallTree)
        #expect { try FileSystemCheck.check(device, CheckOptions(generation: Generation(5))) } throws: { error in
            if case .generationNotFound? = error as? CheckError { true } else { false }
        }
    }
}
