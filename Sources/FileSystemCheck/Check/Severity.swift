/// How much a finding matters, from nothing lost to something lost.
public enum Severity: String, Sendable, CaseIterable, Comparable, Codable {
    /// Allowed by the format or a known habit of another writer; nothing is wrong with the content.
    case benign
    /// Space that can't be used, and nothing worse.
    case leak
    /// Two parts of the metadata contradict each other; the content is there.
    case inconsistency
    /// Something can't be read, or is claimed twice: content is lost or in danger.
    case corruption

    private var rank: Int {
        switch self {
        case .benign: 0
        case .leak: 1
        case .inconsistency: 2
        case .corruption: 3
        }
    }

    /// Order by weight.
    public static func < (one: Severity, other: Severity) -> Bool { one.rank < other.rank }
}
