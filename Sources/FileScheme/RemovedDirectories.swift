import DiskFormat
import RedoxFS

/// What fstat(2) shows of directories that were removed while somebody had them open: the kernel opens and closes directories without
/// telling us, so nothing else keeps them. Bounded; the oldest are forgotten.
struct RemovedDirectories {
    private static let limit = 1024
    private var attributes: [NodeID: Attributes] = [:]
    private var order: [NodeID] = []

    /// A directory was removed at that time.
    mutating func add(_ removed: Attributes, at time: Timespec) {
        var last = removed
        last.links = 0
        last.storedLinks = 0
        last.ctime = time
        if attributes.updateValue(last, forKey: removed.node) == nil { order.append(removed.node) }
        if order.count > Self.limit { attributes[order.removeFirst()] = nil }
    }

    /// What is remembered of a node that isn't there any more.
    func find(_ node: NodeID) -> Attributes? { attributes[node] }
}
