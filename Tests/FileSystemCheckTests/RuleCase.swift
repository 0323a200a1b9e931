import DiskFormat
import FileSystemCheck
import TestSupport
import Testing

/// An image that breaks one rule, and what is to be found in it.
struct RuleCase: Sendable, CustomTestStringConvertible {
    let rule: Rule
    let name: String
    var image = GoldenImage.smallTree
    /// Rules that can't but be broken along with it.
    var along: Set<Rule> = []
    var verifiesData = false
    /// Metadata is lost that an older generation still has: that one takes its place.
    var fallsBack = false
    let operate: @Sendable (Surgeon) throws -> Void

    init(
        _ rule: Rule, _ name: String = "", image: GoldenImage = .smallTree, along: Set<Rule> = [],
        verifiesData: Bool = false, fallsBack: Bool = false, _ operate: @escaping @Sendable (Surgeon) throws -> Void
    ) {
        self.rule = rule
        self.name = name
        self.image = image
        self.along = along
        self.verifiesData = verifiesData
        self.fallsBack = fallsBack
        self.operate = operate
    }

    var testDescription: String { name.isEmpty ? rule.rawValue : "\(rule.rawValue): \(name)" }
}

/// Nodes of the image with the small tree.
enum SmallTree {
    static let deep: UInt32 = 2
    static let level00: UInt32 = 3
    static let emptyDirectory: UInt32 = 16
    static let sizes: UInt32 = 17
    /// 8193 bytes in one record of 4 blocks.
    static let fourBlocks: UInt32 = 46
    /// 65,536 bytes, one compressed record.
    static let compressed: UInt32 = 34
    /// 131,073 bytes: a record of 32 blocks and one of one block.
    static let twoRecords: UInt32 = 49
    /// 1,048,583 bytes: eight records of 32 blocks and one of one block.
    static let manyRecords: UInt32 = 51
    static let links: UInt32 = 62
    static let attributes: UInt32 = 94
    /// An inline file, /attrs/mode0644.
    static let inlineFile: UInt32 = 98
    static let many: UInt32 = 114
    /// An inline file, /many/f000.
    static let otherFile: UInt32 = 115
    /// A file with three names: /hard/one, /hard/two, /links/three.
    static let threeNames: UInt32 = 418
    /// The first list of a directory of depth 0.
    static func list(_ directory: UInt32) -> [Int] { Surgeon.slot(directory, 1) }
}
