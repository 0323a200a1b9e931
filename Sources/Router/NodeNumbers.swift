// The numbers by which the kernel knows nodes are computed, so that a new router knows them too:
//
//      63      48 47                    0
//     | scheme   | server's node number  |
//
// The kernel's number of the mount's root is 1. The scheme that is mounted as root is scheme 0, so that its nodes have the server's own
// numbers; if its root has another number than 1, the two change places.

/// Converts between a server's node numbers and the kernel's.
public struct NodeNumbers: Sendable, Equatable {
    /// The mount's root.
    public static let root: UInt64 = 1
    /// The scheme number of what the router itself shows.
    public static let systemIndex = 0xffff
    /// The largest scheme number of a server.
    public static let maximumIndex = 0xfff0
    private static let shift: UInt64 = 48
    private static let limit: UInt64 = 1 << shift

    /// The scheme's number.
    public let index: Int
    /// The server's number of the scheme's root.
    public let rootNode: UInt64

    /// The numbers of one scheme.
    public init(index: Int, rootNode: UInt64) {
        self.index = index
        self.rootNode = rootNode
    }

    /// The scheme that a kernel's number belongs to.
    public static func index(of number: UInt64) -> Int { Int(truncatingIfNeeded: number >> shift) }

    /// The kernel's number of a server's node; nil if the server's number has more than 48 bits, or is 0.
    public func kernel(_ node: UInt64) -> UInt64? {
        guard node != 0, node < Self.limit else { return nil }
        return UInt64(index) << Self.shift | exchanged(node)
    }

    /// The server's number of a kernel's.
    public func server(_ number: UInt64) -> UInt64 { exchanged(number & (Self.limit - 1)) }

    private func exchanged(_ node: UInt64) -> UInt64 {
        guard index == 0, rootNode != Self.root else { return node }
        if node == rootNode { return Self.root }
        return node == Self.root ? rootNode : node
    }
}
