import DiskFormat

/// A block that something points to, and what it is meant to be.
public struct BlockClaim: Sendable, Hashable {
    /// What a block is meant to be.
    public enum Kind: Sendable, Hashable {
        /// A tree block of a level, 3 at the top, for nodes from a number on.
        case tree(level: Int, firstNode: UInt32)
        /// A node.
        case node
        /// A list with so many levels of lists in it, itself included, for records from a number on.
        case list(depth: Int, firstRecord: UInt64)
        /// A record.
        case record(UInt64)
        /// A hash-tree block with so many levels of hash-tree blocks, itself included.
        case hashTree(levels: Int)
        /// A list of directory entries.
        case directoryList
        /// A table of extended attributes.
        case attributeTable
        /// The value of an extended attribute.
        case attributeValue
        /// A block of the allocation log, 0 being the newest.
        case allocationLog(Int)
        /// A block of the release list, 0 being the newest.
        case releaseList(Int)
    }

    /// What points to it says where it is and what hash it has.
    public let pointer: BlockPointer
    /// What it is meant to be.
    public let kind: Kind
    /// The node that it belongs to; 0 for what belongs to none.
    public let node: UInt32

    /// Whether it holds content of files, not metadata.
    public var isData: Bool {
        switch kind {
        case .record, .attributeValue: true
        default: false
        }
    }
}

extension BlockClaim: CustomStringConvertible {
    /// What it is, and where.
    public var description: String {
        let place = "block \(pointer.address)"
        switch kind {
        case .tree(let level, let first): return "tree level \(level) for nodes from \(first) on, \(place)"
        case .node: return "node \(node), \(place)"
        case .list(let depth, let first): return "list of level \(depth) for records from \(first) on, \(place)"
        case .record(let record): return "record \(record) of node \(node), \(place)"
        case .hashTree(let levels): return "hash-tree block of level \(levels) of directory \(node), \(place)"
        case .directoryList: return "directory list of directory \(node), \(place)"
        case .attributeTable: return "attribute table of node \(node), \(place)"
        case .attributeValue: return "attribute value of node \(node), \(place)"
        case .allocationLog(let index): return "allocation log block \(index) from the newest, \(place)"
        case .releaseList(let index): return "release list block \(index) from the newest, \(place)"
        }
    }
}

extension BlockClaim {
    /// The same for programs.
    var printed: PrintedValue {
        var fields: [PrintedValue.Field]
        switch kind {
        case .tree(let level, let first):
            fields = [
                .init("kind", "tree"), .init("level", .number(Int64(level))),
                .init("first_node", .unsigned(UInt64(first))),
            ]
        case .node: fields = [.init("kind", "node")]
        case .list(let depth, let first):
            fields = [
                .init("kind", "list"), .init("level", .number(Int64(depth))), .init("first_record", .unsigned(first)),
            ]
        case .record(let record): fields = [.init("kind", "record"), .init("record", .unsigned(record))]
        case .hashTree(let levels): fields = [.init("kind", "hash_tree"), .init("level", .number(Int64(levels)))]
        case .directoryList: fields = [.init("kind", "directory_list")]
        case .attributeTable: fields = [.init("kind", "attribute_table")]
        case .attributeValue: fields = [.init("kind", "attribute_value")]
        case .allocationLog(let index):
            fields = [.init("kind", "allocation_log"), .init("index", .number(Int64(index)))]
        case .releaseList(let index): fields = [.init("kind", "release_list"), .init("index", .number(Int64(index)))]
        }
        if node != 0 { fields.append(.init("node", .unsigned(UInt64(node)))) }
        return .fields(fields + PrintedValue.place(pointer))
    }
}
