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

        let report = try surgeon.repair(verifyData: example.verifiesData, fallsBack: false)
        #expect(report.after.isClean, "\(report.after.findings)")
        #expect(report.isComplete)
        let again = try surgeon.check(verifyData: true)
        #expect(again.isClean, "\(again.findings)")
        #expect(again.generation == found.generation.next || example.rule == .headerMisplaced)
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
