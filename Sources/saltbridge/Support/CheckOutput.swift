import FileSystemCheck
import ImageTools

/// How the results of a check and a repair look.
enum CheckOutput {
    /// Findings of a kind that are printed unless all are asked for.
    private static let perRule = 10
    /// Losses that are printed unless all are asked for.
    private static let maximumLosses = 40

    /// For people.
    static func lines(_ report: CheckReport, _ repair: RepairReport?, _ name: String, showsAll: Bool) -> [String] {
        var lines: [String] = []
        var shown: [Rule: Int] = [:]
        for finding in report.findings {
            shown[finding.rule, default: 0] += 1
            if showsAll || shown[finding.rule, default: 0] <= perRule {
                lines.append("\(finding)")
            }
        }
        for (rule, count) in report.counts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let printed = showsAll ? shown[rule] ?? 0 : min(shown[rule] ?? 0, perRule)
            if count > printed {
                lines.append("\(rule.severity.rawValue): \(rule.rawValue): \(count - printed) more")
            }
        }
        if let whole = report.wholeGeneration, repair == nil {
            lines.append("generation \(whole) is the newest that is whole: a repair goes back to it")
        } else if let fuller = report.fullerGeneration, repair == nil {
            lines.append("no generation is whole, most is left of generation \(fuller): a repair goes back to it")
        }
        if let repair, let generation = repair.generation {
            lines += repairLines(repair, showsAll: showsAll)
            lines.append("\(name): repaired: generation \(generation)")
        }
        let figures = repair?.after ?? report
        lines.append(
            "\(name): generation \(figures.generation), \(figures.nodes) node\(figures.nodes == 1 ? "" : "s"), "
                + "\(figures.used) block\(figures.used == 1 ? "" : "s") used, "
                + "\(figures.free) free, \(figures.leaked) leaked: \(verdict(figures))")
        return lines
    }

    private static func repairLines(_ repair: RepairReport, showsAll: Bool) -> [String] {
        var lines: [String] = []
        if repair.source != repair.before.generation {
            let (source, given) = (repair.source, repair.before.generation)
            lines.append("took generation \(source) in place of \(given); changes given up:")
            lines += list(repair.changesGivenUp.filter { $0.kind != .lost }, showsAll)
            let lost = repair.changesGivenUp.filter { $0.kind == .lost }
            if !lost.isEmpty {
                lines.append("as in generation \(source), since generation \(given) has lost what it had of them:")
                lines += list(lost, showsAll)
            }
        }
        let losses = repair.losses.prefix(showsAll ? repair.losses.count : maximumLosses)
        for loss in losses {
            let place = loss.path ?? "node \(loss.node)"
            let bytes = loss.bytes.map { " bytes \($0.lowerBound) to \($0.upperBound - 1):" } ?? ":"
            lines.append("lost \(place)\(bytes) \(loss.detail)")
        }
        if losses.count < repair.losses.count {
            lines.append("and \(repair.losses.count - losses.count) more losses (--all names them)")
        }
        if !repair.attached.isEmpty {
            lines.append("put into /lost+found: \(repair.attached.map { "#\($0)" }.joined(separator: " "))")
        }
        return lines
    }

    private static func list(_ changes: [PathChange], _ showsAll: Bool) -> [String] {
        if changes.isEmpty { return ["  none that can be made out"] }
        let shown = showsAll ? changes.count : min(changes.count, 20)
        let lines = changes.prefix(shown).map { "  \($0.kind.rawValue) \($0.path)" }
        return changes.count > shown ? lines + ["  and \(changes.count - shown) more"] : lines
    }

    private static func verdict(_ report: CheckReport) -> String {
        let parts = Severity.allCases.reversed().compactMap { severity -> String? in
            let count = report.count(of: severity)
            return count == 0 ? nil : "\(count) \(noun(severity, isPlural: count > 1))"
        }
        return parts.isEmpty ? "clean" : parts.joined(separator: ", ")
    }

    private static func noun(_ severity: Severity, isPlural: Bool) -> String {
        switch severity {
        case .benign: isPlural ? "benign findings" : "benign finding"
        case .leak: isPlural ? "leaks" : "leak"
        case .inconsistency: isPlural ? "inconsistencies" : "inconsistency"
        case .corruption: isPlural ? "corruptions" : "corruption"
        }
    }

    /// For programs. After a repair the figures are those of the result; `findings` are those before, each with whether it
    /// was repaired, and after them what is left.
    static func json(_ report: CheckReport, _ repair: RepairReport?) -> JSONValue {
        let figures = repair?.after ?? report
        let left = repair.map { repair in repair.after.findings.filter { !report.findings.contains($0) } } ?? []
        var members: [(String, JSONValue)] = [
            ("generation", .unsigned(figures.generation.rawValue)),
            ("used", .unsigned(figures.used)),
            ("free", .unsigned(figures.free)),
            ("leaked", .unsigned(figures.leaked)),
            ("used_and_free", .unsigned(figures.usedAndFree)),
            ("nodes", .unsigned(figures.nodes)),
            ("released_nodes", .array(figures.releasedNodes.map { .unsigned(UInt64($0)) })),
            ("verified_bytes", .unsigned(report.verifiedBytes)),
            ("clean", .bool(figures.isClean)),
            ("whole_generation", report.wholeGeneration.map { .unsigned($0.rawValue) } ?? .null),
            ("changes_since_whole", .array(report.changesSinceWhole.map(json))),
            ("findings", .array(report.findings.map(json) + left.map(json))),
            ("omitted_findings", .integer(Int64(report.counts.values.reduce(0, +) - report.findings.count))),
        ]
        if let repair {
            members += [
                ("checked_generation", .unsigned(report.generation.rawValue)),
                ("source_generation", .unsigned(repair.source.rawValue)),
                ("repaired", .bool(repair.generation != nil)),
                ("losses", .array(repair.losses.map(json))),
                ("attached", .array(repair.attached.map { .unsigned(UInt64($0)) })),
            ]
        }
        return .object(members)
    }

    private static func json(_ finding: Finding) -> JSONValue {
        .object([
            ("rule", .string(finding.rule.rawValue)), ("severity", .string(finding.severity.rawValue)),
            ("block", finding.block.map { .unsigned($0) } ?? .null),
            ("node", finding.node.map { .unsigned(UInt64($0)) } ?? .null),
            ("path", finding.path.map { .string($0) } ?? .null), ("detail", .string(finding.detail)),
            ("repaired", .bool(finding.repaired)),
        ])
    }

    private static func json(_ loss: Loss) -> JSONValue {
        .object([
            ("node", .unsigned(UInt64(loss.node))), ("path", loss.path.map { .string($0) } ?? .null),
            ("offset", loss.bytes.map { .unsigned($0.lowerBound) } ?? .null),
            ("length", loss.bytes.map { .unsigned(UInt64($0.count)) } ?? .null), ("detail", .string(loss.detail)),
        ])
    }

    static func json(_ change: PathChange) -> JSONValue {
        .object([
            ("change", .string(change.kind.rawValue)), ("path", .string(change.path)),
            ("node", .unsigned(UInt64(change.node))),
        ])
    }
}
