import DiskFormat

/// What a check found.
public struct CheckReport: Sendable {
    /// The generation that was checked.
    public var generation: Generation
    /// The newest generation whose metadata can be read in full, if the checked one can't and it was searched for.
    public var wholeGeneration: Generation?
    /// If none is whole: the older generation of which most is left, if that is more than is left of the checked one.
    public var fullerGeneration: Generation?
    /// What differs between the generation that a repair would take and the checked one, as far as it can be read: what going back gives up. What
    /// the checked one has lost is named as such.
    public var changesSinceWhole: [PathChange]
    /// Blocks that can be reached from the header, the header ring and block 256 apart.
    public var used: UInt64
    /// Blocks that the allocation log calls free.
    public var free: UInt64
    /// Blocks that are neither used nor free, block 256 apart.
    public var leaked: UInt64
    /// Blocks that are both.
    public var usedAndFree: UInt64
    /// Nodes of all types.
    public var nodes: UInt64
    /// Blocks of the allocation log.
    public var logBlocks: UInt64
    /// Entries of the allocation log that are in use.
    public var logEntries: UInt64
    /// Nodes that wait on the release list.
    public var releasedNodes: [UInt32]
    /// Blocks of the file system.
    public var blockCount: UInt64
    /// Bytes of records that were read and hashed.
    public var verifiedBytes: UInt64
    /// The findings, in the order they were made, up to the limit of the options.
    public var findings: [Finding]
    /// How often each rule was broken, also beyond that limit.
    public var counts: [Rule: Int]
    /// Whether metadata of the generation can't be read.
    public var hasLostMetadata: Bool

    /// The older generation that a repair takes in place of the checked one, which has lost metadata; nil if it keeps that.
    public var fallback: Generation? { wholeGeneration ?? fullerGeneration }

    /// The highest severity found, nil if there was nothing.
    public var severity: Severity? { counts.keys.map(\.severity).max() }

    /// Whether no rule is broken at all, not even in a benign way.
    public var isClean: Bool { counts.isEmpty }

    /// Whether nothing is lost or contradictory; leaks and benign findings don't matter for that.
    public var isConsistent: Bool { (severity ?? .benign) < .inconsistency }

    /// Whether there is something that a repair should mend: anything but benign findings. A leak loses no content, but
    /// its space stays lost until a repair reclaims it.
    public var needsRepair: Bool { (severity ?? .benign) >= .leak }

    /// How many findings of a severity there are.
    public func count(of severity: Severity) -> Int {
        counts.reduce(0) { $1.key.severity == severity ? $0 + $1.value : $0 }
    }
}
