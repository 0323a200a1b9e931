import DiskFormat

/// What to check and how.
public struct CheckOptions: Sendable {
    /// The generation to check; nil for the newest one.
    public var generation: Generation?
    /// The password of an encrypted disk, as bytes.
    public var password: [UInt8]?
    /// Whether the content of all files is read and hashed, too.
    public var verifyData: Bool
    /// Threads that read and hash data besides the caller's; nil for one less than the machine has cores.
    public var threads: Int?
    /// How many findings are kept; further ones are only counted.
    public var maximumFindings: Int
    /// Whether older generations are searched for one that is whole when the checked one isn't.
    public var searchesWholeGeneration: Bool
    /// Called now and then, on the checking thread, with how far the check is.
    public var progress: (@Sendable (CheckProgress) -> Void)?

    /// Options of their parts; all have a value that fits most uses.
    public init(
        generation: Generation? = nil, password: [UInt8]? = nil, verifyData: Bool = false, threads: Int? = nil,
        maximumFindings: Int = 10_000, searchesWholeGeneration: Bool = true,
        progress: (@Sendable (CheckProgress) -> Void)? = nil
    ) {
        self.generation = generation
        self.password = password
        self.verifyData = verifyData
        self.threads = threads
        self.maximumFindings = maximumFindings
        self.searchesWholeGeneration = searchesWholeGeneration
        self.progress = progress
    }
}

/// How far a check is.
public struct CheckProgress: Sendable {
    /// What is being done.
    public enum Phase: String, Sendable {
        case allocationLog, nodes, directories, data, repair, blocks
    }
    /// What is being done.
    public var phase: Phase
    /// How much of it is done; in nodes, directories or bytes.
    public var done: UInt64
    /// How much there is to do, 0 if that isn't known.
    public var total: UInt64
}
