import BlockDevice
import DiskFormat

/// A generation whose header is still in the ring.
public struct GenerationSummary: Sendable {
    /// The generation.
    public var generation: Generation
    /// When it was committed, if its header says so.
    public var time: Timespec?
    /// The last request of a mount that it contains, if its header says so.
    public var sequence: UInt64?
    /// Whether all of its metadata can be read.
    public var hasWholeMetadata: Bool
    /// Whether all that it reaches can be read. Content that it shares with the newest generation is taken to be good
    /// unless all was to be verified.
    public var isWhole: Bool
    /// Blocks that it has and no newer generation has, by their pointers.
    public var ownBlocks: UInt64
}

extension FileSystemCheck {
    /// The generations whose headers are in the ring, the newest first, and which of them can still be read.
    ///
    /// What several generations share is read once. Content of files is read only where the newest generation doesn't
    /// share it, or everywhere if the options ask for `verifyData`.
    public static func history(
        _ device: any BlockDevice, _ options: CheckOptions = CheckOptions()
    ) throws(CheckError) -> [GenerationSummary] {
        let image = try OpenedImage(device, password: options.password)
        var known: Set<BlockPointer> = []
        // What can't be read in full, with how many blocks of metadata are lost in it.
        var broken: [BlockPointer: Int] = [:]
        var summaries: [GenerationSummary] = []
        for (index, header) in image.headers.enumerated() {
            let reader = image.reader(of: header)
            var losses = 0
            var lossesBefore: [Int] = []
            var own: UInt64 = 0
            let readsData = options.verifyData || index > 0
            let visitor = ImageWalk.Visitor { claim, _ in
                if known.contains(claim.pointer) { return .skip(isWhole: true) }
                if let lost = broken[claim.pointer] {
                    losses += lost
                    return .skip(isWhole: false)
                }
                own += claim.pointer.address.blockCount
                if claim.isData, !readsData {
                    known.insert(claim.pointer)
                    return .skip(isWhole: claim.pointer.address.isInside(blocks: reader.blockCount))
                }
                lossesBefore.append(losses)
                return .follow
            } leave: { claim, isRead, isWhole in
                if !isRead, !claim.isData {
                    losses += 1
                }
                let before = lossesBefore.popLast() ?? losses
                if isWhole {
                    known.insert(claim.pointer)
                } else {
                    broken[claim.pointer] = losses - before
                }
            }
            var walk = ImageWalk(reader: reader)
            let isWhole = walk.walkTree(Roots(header), visitor)
            let note = header.headerExtension
            summaries.append(
                GenerationSummary(
                    generation: header.generation, time: note?.commitTime, sequence: note?.sequence,
                    hasWholeMetadata: losses == 0, isWhole: isWhole, ownBlocks: own))
            options.progress?(
                CheckProgress(phase: .nodes, done: UInt64(index), total: UInt64(image.headers.count)))
        }
        return summaries
    }

    /// What differs between two generations, by path.
    public static func changes(
        _ device: any BlockDevice, from older: Generation, to newer: Generation,
        _ options: CheckOptions = CheckOptions()
    ) throws(CheckError) -> [PathChange] {
        let image = try OpenedImage(device, password: options.password)
        return GenerationDifference(image, try image.header(of: older), try image.header(of: newer)).changes()
    }

    /// Makes an older generation's content the newest again, as a new generation; nothing of it may be lost.
    ///
    /// - Returns: the new generation.
    /// - Throws: `generationNotWhole` if part of it has been overwritten since; nothing is written then.
    @discardableResult
    public static func rollBack(
        _ device: any BlockDevice, to generation: Generation, _ options: CheckOptions = CheckOptions(),
        time: Timespec
    ) throws(CheckError) -> RepairReport {
        var wanted = options
        wanted.generation = generation
        wanted.verifyData = true
        wanted.searchesWholeGeneration = false
        let found = try check(device, wanted)
        // What the log of that generation said doesn't matter: it is written anew.
        let isLost = found.findings.first { $0.severity == .corruption && !$0.rule.isAboutFreeSpace }
        if let isLost {
            throw .generationNotWhole(generation, reason: "\(isLost)")
        }
        return try repair(device, wanted, RepairOptions(fallsBack: false, time: time))
    }
}

extension Rule {
    /// Whether the rule is about what is free, so that a new allocation log settles it.
    var isAboutFreeSpace: Bool {
        switch self {
        case .logMissing, .logUnreadable, .logEntryOutOfRange, .logAllocatesUsed, .logFreesFree, .blockUsedAndFree,
            .blockLeaked:
            true
        default:
            false
        }
    }
}
