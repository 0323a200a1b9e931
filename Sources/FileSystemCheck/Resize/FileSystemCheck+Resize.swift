import BlockDevice
import DiskFormat
import Platform

/// Why a file system can't get another size.
public enum ResizeError: Error, Sendable {
    /// It can't be read, unlocked or written.
    case check(CheckError)
    /// It has faults that must be repaired before it can shrink.
    case damaged(CheckReport)
    /// Its content doesn't fit; the size in bytes, reserved blocks included, that can be reached.
    case tooSmall(minimumByteCount: UInt64)
}

extension ResizeError: CustomStringConvertible {
    /// One line for a person.
    public var description: String {
        switch self {
        case .check(let error): "\(error)"
        case .damaged(let report):
            "the file system has faults that must be repaired before it can shrink, such as: "
                + (report.findings.first { $0.severity >= .inconsistency }.map { "\($0)" } ?? "unknown")
        case .tooSmall(let minimum): "the content needs at least \(minimum) bytes"
        }
    }
}

/// What a change of size did.
public struct ResizeReport: Sendable {
    /// The size before in bytes, with the reserved blocks in front.
    public var oldByteCount: UInt64
    /// The size now in bytes, with the reserved blocks in front.
    public var newByteCount: UInt64
    /// Blocks of 4 KiB that were moved.
    public var movedBlocks: UInt64
    /// The newest generation.
    public var generation: Generation
    /// Whether it has faults that a repair should mend: they don't keep a file system from growing, which may be what gives the
    /// repair room.
    public var needsRepair = false
}

extension FileSystemCheck {
    /// Changes the size of a file system; the device's own size is the caller's: larger before, or smaller after.
    ///
    /// Works copy-on-write: what lies beyond the new end is copied to free space, what points to it after it, then a header
    /// of a new generation with the new size and a new allocation log. At each instant the newest header leads to a whole
    /// file system. Shrinking ends the readability of older generations, and is refused where something is damaged; growing
    /// leaves what is damaged as it is.
    ///
    /// - Parameters:
    ///   - byteCount: the wanted size with the reserved blocks, rounded down to blocks; nil: the smallest possible.
    ///   - time: the time of the commit.
    public static func resize(
        _ device: any BlockDevice, to byteCount: UInt64?, _ options: CheckOptions = CheckOptions(), time: Timespec
    ) throws(ResizeError) -> ResizeReport {
        let result: Result<ResizeReport, ResizeError>
        do throws(CheckError) {
            result = try Resizer(device, options, time).run(to: byteCount)
        } catch {
            throw .check(error)
        }
        return try result.get()
    }
}

/// One change of size: as many steps as it takes, each a generation.
private struct Resizer {
    /// Each step frees what the one before has moved; more gain nothing.
    private static let maximumSteps = 12

    let device: any BlockDevice
    let options: CheckOptions
    let time: Timespec

    init(_ device: any BlockDevice, _ options: CheckOptions, _ time: Timespec) {
        self.device = device
        self.options = options
        self.time = time
    }

    func run(to byteCount: UInt64?) throws(CheckError) -> Result<ResizeReport, ResizeError> {
        guard device.isWritable else { throw .readOnly }
        let first = try OpenedImage(device, password: options.password)
        let start = first.startBlock << 12
        let before = first.newest.blockCount
        let wanted = byteCount.map { ($0 - min($0, start)) >> 12 }
        var report = ResizeReport(
            oldByteCount: start + before << 12, newByteCount: start + before << 12, movedBlocks: 0,
            generation: first.newest.generation)
        for _ in 0..<Self.maximumSteps {
            let image = try OpenedImage(device, password: options.password)
            let present = image.newest.blockCount
            if present == wanted { break }
            var checker = FileSystemCheck.run(image, image.newest, options)
            let state = checker.report(in: image.newest.generation)
            report.needsRepair = state.needsRepair
            if let wanted, wanted > present {
                guard wanted <= image.deviceBlocks else {
                    throw .device(
                        .outOfRange(
                            offset: start, length: wanted << 12, deviceByteCount: device.byteCount, operation: .resize))
                }
                if state.isConsistent {
                    try commit(image, &checker, limit: wanted, [:], &report)
                    report.needsRepair = false
                } else {
                    try growDamaged(image, checker, limit: wanted, &report)
                }
                break
            }
            guard state.isConsistent else { return .failure(.damaged(state)) }
            let plan = try RelocationPlan(reader: checker.reader, roots: checker.roots, used: checker.used)
            // One block more at least is the log's.
            let least = max(
                plan.blockCount + 1 + Limits.firstAllocatableBlock + RelocationPlan.slack, Limits.minimumBlocks + 1)
            if let wanted, wanted < least {
                return .failure(.tooSmall(minimumByteCount: start + least << 12))
            }
            let lowest = wanted ?? least
            var limit = lowest
            var moves = wanted == nil ? nil : plan.destinations(limit: lowest)
            if moves == nil, let reachable = plan.lowestLimit(from: lowest, below: present) {
                limit = reachable
                moves = plan.destinations(limit: reachable)
            }
            guard let moves, limit < present else { break }
            try commit(image, &checker, limit: limit, moves, &report)
        }
        if let wanted, report.newByteCount >> 12 != wanted + first.startBlock {
            return .failure(.tooSmall(minimumByteCount: report.newByteCount))
        }
        return .success(report)
    }

    /// Moves, then writes the log and the header.
    private func commit(
        _ image: OpenedImage, _ checker: inout Checker, limit: UInt64, _ moves: [UInt64: UInt64],
        _ report: inout ResizeReport
    ) throws(CheckError) {
        let old = checker.reader
        let new = BlockReader(device: old.device, start: old.start, blockCount: limit, cipher: old.cipher)
        let roots = checker.roots
        let total = moves.isEmpty ? 1 : UInt64(moves.count)
        let tell = options.progress
        var relocator = Relocator(
            reader: old, writer: BlockWriter(reader: new, keeping: BlockBitmap(blockCount: limit)), destinations: moves
        ) { done in
            if done % 64 == 0 { tell?(CheckProgress(phase: .repair, done: min(done, total), total: total)) }
        }
        let tree = try relocator.moveTree(roots.tree)
        let releaseList = try relocator.moveReleaseList(roots.releaseList)
        // An independent look at what was made: what it reaches is in use, all else is free.
        var result = Checker(
            reader: new,
            roots: Roots(generation: roots.generation, tree: tree, log: .null, releaseList: releaseList),
            options: quick)
        result.run()
        let faults = result.findings.counts.keys.filter { $0.severity >= .inconsistency && $0 != .logMissing }
        guard faults.isEmpty else { throw .notRepairable(remaining: result.findings.findings) }
        var used = result.used
        var kept = BlockBitmap(blockCount: max(limit, checker.used.blockCount))
        kept.formUnion(checker.used)
        kept.formUnion(used)
        var writer = BlockWriter(reader: new, keeping: kept)
        let commit = RepairCommit(image: image, reader: new, time: time)
        let log = try commit.writeLog(&used, &writer)
        let header = try commit.makeHeader(tree: tree, log: log, releaseList: releaseList)
        try commit.write(header)
        report.newByteCount = (image.startBlock + limit) << 12
        report.movedBlocks += UInt64(moves.count)
        report.generation = header.generation
    }

    /// Adds room behind the present end and touches nothing else: what can't be read may still be saved by a repair. Free is what
    /// the log calls so and nothing uses, and what is new; the new log lies in the new room.
    private func growDamaged(
        _ image: OpenedImage, _ checker: Checker, limit: UInt64, _ report: inout ResizeReport
    ) throws(CheckError) {
        let old = checker.reader
        let new = BlockReader(device: old.device, start: old.start, blockCount: limit, cipher: old.cipher)
        var kept = BlockBitmap(blockCount: limit)
        kept.insert(0..<old.blockCount)
        var taken = kept
        BlockBitmap.forEachRun(in: 0..<old.blockCount) {
            checker.free.word($0) & ~checker.used.word($0)
        } _: {
            taken.remove($0)
        }
        var writer = BlockWriter(reader: new, keeping: kept)
        let commit = RepairCommit(image: image, reader: new, time: time)
        let log = try commit.writeLog(&taken, &writer)
        let header = try commit.makeHeader(
            tree: checker.roots.tree, log: log, releaseList: checker.roots.releaseList)
        try commit.write(header)
        report.newByteCount = (image.startBlock + limit) << 12
        report.generation = header.generation
    }

    private var quick: CheckOptions {
        var quick = options
        quick.verifyData = false
        quick.maximumFindings = 100
        return quick
    }
}
