import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

@Suite struct Rules {
    static let small =
        RuleCase.ring + RuleCase.pointers + RuleCase.tree + RuleCase.log + RuleCase.nodes + RuleCase.records
        + RuleCase.releaseList + RuleCase.attributes + RuleCase.directories

    /// Rules that other tests break.
    static let elsewhere: Set<Rule> = [
        // Without a tree there is nothing to repair; a lost generation is a matter of several.
        .treeMissing, .generationNotWhole,
    ]

    @Test func everyRuleIsBrokenOnce() {
        let broken = Set((Self.small + RuleCase.hashTrees).map(\.rule)).union(Self.elsewhere)
        #expect(broken == Set(Rule.allCases))
    }

    @Test(arguments: small)
    func isFoundAndRepaired(_ example: RuleCase) throws {
        try Self.examine(example)
    }

    @Test(arguments: RuleCase.hashTrees)
    func isFoundAndRepairedInLargeDirectory(_ example: RuleCase) throws {
        try Self.examine(example)
    }

    /// The rule is found broken, with few others; after the repair nothing is.
    private static func examine(_ example: RuleCase) throws {
        let surgeon = try Surgeon(example.image)
        try example.operate(surgeon)
        let found = try surgeon.check(verifyData: example.verifiesData)
        #expect(found.counts[example.rule] != nil, "\(found.findings)")
        let others = Set(found.counts.keys).subtracting(example.along).subtracting([.generationNotWhole])
        #expect(others == [example.rule], "\(found.findings)")
        let finding = try #require(found.findings.first { $0.rule == example.rule })
        #expect(finding.severity == example.rule.severity)
        if example.fallsBack {
            try examineFallback(example, surgeon, found)
            return
        }

        let report = try surgeon.repair(verifyData: example.verifiesData, fallsBack: false)
        #expect(report.after.isClean, "\(report.after.findings)")
        #expect(report.isComplete)
        let again = try surgeon.check(verifyData: true)
        #expect(again.isClean, "\(again.findings)")
        #expect(again.generation == found.generation.next || example.rule == .headerMisplaced)
    }

    /// The newest generation that is whole takes the place of the one that isn't. Where the latter is kept all the same, or nothing at
    /// all of it can be read, the whole one can be gone back to.
    private static func examineFallback(_ example: RuleCase, _ surgeon: Surgeon, _ found: CheckReport) throws {
        let whole = try #require(found.wholeGeneration)
        #expect(whole < found.generation)
        let older = try surgeon.check(verifyData: true, generation: whole)
        #expect(older.isConsistent && older.nodes > 400)
        let report = try surgeon.repair()
        #expect(report.source == whole)
        #expect(report.after.isClean && report.isComplete)
        #expect(report.after.nodes == older.nodes - UInt64(older.releasedNodes.count))
        #expect(try surgeon.check(verifyData: true).isClean)

        let inPlace = try Surgeon(example.image)
        try example.operate(inPlace)
        switch Result(catching: { try inPlace.repair(fallsBack: false) }) {
        case .success(let kept):
            #expect(kept.source == found.generation && kept.after.isClean)
        case .failure(let error):
            guard case .nothingReadable? = error as? CheckError else { throw error }
            #expect(try inPlace.check().generation == found.generation)
        }
        let undone = try FileSystemCheck.rollBack(inPlace.device, to: whole, time: Timespec(seconds: 1_800_000_000))
        #expect(undone.after.isClean && undone.after.nodes == report.after.nodes)
    }

    @Test func missingTreeCannotBeRepairedInPlace() throws {
        let surgeon = try Surgeon(.smallTree)
        try surgeon.editHeader { $0.tree = .null }
        let found = try surgeon.check()
        #expect(found.counts[.treeMissing] == 1)
        #expect(found.wholeGeneration != nil)
        #expect(try surgeon.repair().after.isClean)
    }
}
