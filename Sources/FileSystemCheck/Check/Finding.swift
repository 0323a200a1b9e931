/// One breach of one rule.
public struct Finding: Sendable, Equatable {
    /// The rule that is broken.
    public var rule: Rule
    /// The block that breaks it, or that a broken pointer names; nil if it isn't about one block.
    public var block: UInt64?
    /// The number of the node concerned, if there is one.
    public var node: UInt32?
    /// The path of that node, if it has one that can be found.
    public var path: String?
    /// What was found and what was expected, in words.
    public var detail: String
    /// Whether a repair did away with it.
    public var repaired: Bool

    /// How much it matters.
    public var severity: Severity { rule.severity }

    /// A finding of its parts; the severity is the rule's.
    public init(
        _ rule: Rule, block: UInt64? = nil, node: UInt32? = nil, path: String? = nil, detail: String,
        repaired: Bool = false
    ) {
        self.rule = rule
        self.block = block
        self.node = node
        self.path = path
        self.detail = detail
        self.repaired = repaired
    }
}

extension Finding: CustomStringConvertible {
    /// One line for a person.
    public var description: String {
        var text = "\(severity.rawValue): \(rule.rawValue)"
        if let path {
            text += " \(path)"
        }
        if let node {
            text += " node \(node)"
        }
        if let block {
            text += " block \(block)"
        }
        text += ": \(detail)"
        return repaired ? text + " (repaired)" : text
    }
}
