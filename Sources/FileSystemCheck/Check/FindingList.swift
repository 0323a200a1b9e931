/// Findings as they come in, bounded in number.
struct FindingList: Sendable {
    let limit: Int
    private(set) var findings: [Finding] = []
    private(set) var counts: [Rule: Int] = [:]

    init(limit: Int) { self.limit = limit }

    mutating func add(
        _ rule: Rule, block: UInt64? = nil, node: UInt32? = nil, _ detail: @autoclosure () -> String
    ) {
        counts[rule, default: 0] += 1
        if findings.count < limit {
            findings.append(Finding(rule, block: block, node: node, detail: detail()))
        }
    }

    /// Sets the paths of the findings' nodes.
    mutating func setPaths(_ paths: [UInt32: String]) {
        for index in findings.indices {
            if let node = findings[index].node {
                findings[index].path = paths[node]
            }
        }
    }
}
