import DiskFormat

/// How to repair.
public struct RepairOptions: Sendable {
    /// Whether a generation that has lost metadata is given up for the newest one that is whole.
    public var fallsBack: Bool
    /// What the new generation notes as its time.
    public var time: Timespec

    /// - Parameters:
    ///   - fallsBack: false to keep the newest generation and save what is left of it.
    ///   - time: the present time.
    public init(fallsBack: Bool = true, time: Timespec) {
        self.fallsBack = fallsBack
        self.time = time
    }
}

/// Content that a repair could not save.
public struct Loss: Sendable, Equatable {
    /// The node that lost it.
    public var node: UInt32
    /// Its path, if it is known.
    public var path: String?
    /// The bytes of the file that are now a hole; nil if it isn't about bytes.
    public var bytes: Range<UInt64>?
    /// What was lost, in words.
    public var detail: String

    init(node: UInt32, bytes: Range<UInt64>? = nil, _ detail: String) {
        self.node = node
        self.bytes = bytes
        self.detail = detail
    }
}

/// What a repair did.
public struct RepairReport: Sendable {
    /// What was found before; findings that are gone now are marked as repaired.
    public var before: CheckReport
    /// What a check of the result finds; the same as `before` if nothing had to be done.
    public var after: CheckReport
    /// The generation that holds the result, nil if nothing had to be written.
    public var generation: Generation?
    /// The generation whose content the result has.
    public var source: Generation
    /// Whether each finding is gone now.
    public var isComplete: Bool { before.findings.allSatisfy { $0.repaired } }
    /// What could not be saved.
    public var losses: [Loss]
    /// Nodes without a name that are now in lost+found, by number.
    public var attached: [UInt32]
    /// What differs between the generation that was given up and the one that was taken in its place.
    public var changesGivenUp: [PathChange]
}
