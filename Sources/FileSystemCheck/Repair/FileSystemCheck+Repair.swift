import BlockDevice
import DiskFormat
import Platform

extension FileSystemCheck {
    /// Repairs a file system: writes a new generation, copy-on-write, in which a check finds nothing.
    ///
    /// Nothing is written unless the result, checked in memory before, has no faults. No block is written that the
    /// present generation reaches, or the one that can take its place: `rollback` undoes it all.
    ///
    /// A generation of which nothing can be read is not repaired: all that would be left is an empty file system.
    ///
    /// - Throws: `CheckError`; then nothing has changed, unless the device failed while the new generation was written,
    ///   of which nothing counts before its header is on the medium.
    public static func repair(
        _ device: any BlockDevice, _ options: CheckOptions = CheckOptions(), _ repair: RepairOptions
    ) throws(CheckError) -> RepairReport {
        let image = try OpenedImage(device, password: options.password)
        let header = try image.header(of: options.generation)
        let present = run(image, header, options)
        let before = report(present, image, header, options)
        if before.isClean, header.generation == image.newest.generation {
            return RepairReport(
                before: before, after: before, generation: nil, source: header.generation, losses: [], attached: [],
                changesGivenUp: [])
        }
        guard device.isWritable else { throw .readOnly }
        // Behind the highest number there is none that would be the newest.
        guard image.newest.generation.rawValue < .max else { throw .notRepairable(remaining: before.findings) }
        var pinned = present.used
        var source = header
        var checker = present
        var changes: [PathChange] = []
        if let generation = before.fallback {
            // It is kept also if it isn't taken: then it is what a repair in place can be undone with.
            let older = try image.header(of: generation)
            // Records of an older generation may have been overwritten since: all are read.
            var full = options
            full.verifyData = repair.fallsBack
            let found = run(image, older, full)
            pinned = pin(pinned, found.used, blockCount: max(pinned.blockCount, found.used.blockCount))
            if repair.fallsBack {
                source = older
                checker = found
                changes = before.changesSinceWhole
            }
        }
        guard !checker.nodes.rows.isEmpty else {
            throw .nothingReadable(source.generation, reason: reason(of: before))
        }
        if header.generation != image.newest.generation {
            let newest = run(image, image.newest, options)
            pinned = pin(pinned, newest.used, blockCount: max(pinned.blockCount, newest.used.blockCount))
        }
        let (result, losses, attached) = try inRoom(of: image, source) { () throws(CheckError) in
            try build(image, checker, pinned, options, repair)
        }
        let after = try check(device, after(options))
        var report = RepairReport(
            before: before, after: after, generation: result.generation, source: source.generation, losses: losses,
            attached: attached, changesGivenUp: changes)
        report.markRepaired()
        return report
    }

    /// Says what to do about it if there is no room because the device was cut off.
    private static func inRoom<Built>(
        of image: OpenedImage, _ header: Header, _ body: () throws(CheckError) -> Built
    ) throws(CheckError) -> Built {
        do throws(CheckError) {
            return try body()
        } catch {
            switch error {
            case .noSpace, .wouldBeFull:
                guard let needed = image.neededBytes(header) else { throw error }
                throw .tooShort(image.device.byteCount, needed: needed)
            default: throw error
            }
        }
    }

    /// Why nothing can be read.
    private static func reason(of report: CheckReport) -> String {
        let first =
            report.findings.first { $0.rule == .headerSizeWrong }
            ?? report.findings.first { $0.severity == .corruption }
        return first.map { "\($0)" } ?? "unknown"
    }

    private static func after(_ options: CheckOptions) -> CheckOptions {
        var after = options
        after.generation = nil
        after.verifyData = false
        return after
    }

    private static func pin(_ one: BlockBitmap, _ other: BlockBitmap, blockCount: UInt64) -> BlockBitmap {
        var union = BlockBitmap(blockCount: blockCount)
        union.formUnion(one)
        union.formUnion(other)
        return union
    }

    /// How many rounds a repair takes at most: what a round uncovers is done in the next one.
    private static let maximumRounds = 8

    /// Builds the repaired generation in memory, checks it and writes it.
    private static func build(
        _ image: OpenedImage, _ first: Checker, _ pinned: BlockBitmap, _ options: CheckOptions, _ repair: RepairOptions
    ) throws(CheckError) -> (header: Header, losses: [Loss], attached: [UInt32]) {
        let overlay = PendingBlocks(over: image.device)
        var reader = first.reader
        reader = BlockReader(device: overlay, start: reader.start, blockCount: reader.blockCount, cipher: reader.cipher)
        var quick = options
        quick.verifyData = false
        quick.maximumFindings = 100
        var losses: [Loss] = []
        var attached: Set<UInt32> = []
        var checker = first
        for round in 0..<maximumRounds {
            options.progress?(CheckProgress(phase: .repair, done: UInt64(round), total: UInt64(maximumRounds)))
            var repairer = Repairer(checker, reader: reader, keeping: pinned, time: repair.time)
            let tree = try repairer.run()
            losses += named(repairer.losses, by: checker)
            attached.formUnion(repairer.attached)
            // Log and release list come last: until then there is neither.
            let roots = Roots(
                generation: first.roots.generation, tree: tree, log: .null, releaseList: .null)
            checker = Checker(reader: reader, roots: roots, options: quick)
            checker.run()
            let remaining = checker.findings.counts.keys.filter { $0 != .logMissing && $0 != .blockLeaked }
            if !remaining.isEmpty { continue }
            if options.verifyData, !hasReadableData(&checker, options) { continue }
            var used = checker.used
            var writer = BlockWriter(reader: reader, keeping: pin(pinned, used, blockCount: pinned.blockCount))
            let commit = RepairCommit(image: image, reader: reader, time: repair.time)
            let log = try commit.writeLog(&used, &writer)
            try requireFreeBlocks(used, before: first)
            let header = try commit.makeHeader(tree: tree, log: log, releaseList: .null)
            var last = Checker(reader: reader, roots: Roots(header), options: quick)
            last.run()
            guard last.findings.counts.isEmpty else { throw .notRepairable(remaining: last.findings.findings) }
            try commit.write(overlay, used: used, header: header, clearing: first.damage.ringBlocks)
            return (header, losses, attached.sorted())
        }
        throw .notRepairable(remaining: checker.findings.findings)
    }

    /// Free blocks that a file system needs to be of use: with fewer not even a removal can be committed, and the reference
    /// can't be mounted.
    static let leastFreeBlocks: UInt64 = 8

    /// Refuses a result that has less room than is needed, unless it had no more before.
    private static func requireFreeBlocks(_ used: BlockBitmap, before: Checker) throws(CheckError) {
        let free = before.countBlocks { ~used.word($0) }
        let formerly = before.countBlocks { before.free.word($0) & ~before.used.word($0) }
        if free < leastFreeBlocks, free < formerly {
            throw .wouldBeFull(free: free, needed: leastFreeBlocks)
        }
    }

    /// Whether all records of the result can be read: the repair may have uncovered files that the first check didn't reach.
    /// If not, the checker becomes one that knows which to give up.
    private static func hasReadableData(_ checker: inout Checker, _ options: CheckOptions) -> Bool {
        var full = options
        full.maximumFindings = 100
        var reading = Checker(reader: checker.reader, roots: checker.roots, options: full)
        reading.run()
        let remaining = reading.findings.counts.keys.filter { $0 != .logMissing && $0 != .blockLeaked }
        if remaining.isEmpty { return true }
        checker = reading
        return false
    }

    private static func named(_ losses: [Loss], by checker: Checker) -> [Loss] {
        let paths = checker.paths(of: losses.map(\.node))
        return losses.map { loss in
            var loss = loss
            loss.path = paths[loss.node]
            return loss
        }
    }
}

extension RepairReport {
    /// Marks the findings that the result no longer has.
    mutating func markRepaired() {
        struct Key: Hashable {
            let rule: Rule
            let node: UInt32?
            let block: UInt64?
        }
        let remaining = Set(after.findings.map { Key(rule: $0.rule, node: $0.node, block: $0.block) })
        for index in before.findings.indices {
            let finding = before.findings[index]
            before.findings[index].repaired = !remaining.contains(
                Key(rule: finding.rule, node: finding.node, block: finding.block))
        }
    }
}
